"""Test the live page of a sweep: how it reads stage folders, and the page in Chromium."""

import json

import pytest
from live_chromium import open_page

from jepabench.execution.progress import read_log, read_progress
from jepabench.results.live.server import Channel, LiveServer

BAR = "train:  {0}%|##   | {0}00/9999 [07:25<12:03, 39.06step/s, prediction {1} sigreg 0.3]"


def write_stage(folder, *, log="", **files):
    folder.mkdir(parents=True)
    stage = {"hash": "0" * 64, "config": {"task_id": "T"}}
    (folder / "stage.json").write_text(json.dumps(stage), encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "stage.log").write_text(log, encoding="utf-8")


@pytest.fixture
def output(tmp_path):
    done = {"hash": "0" * 64, "config": {}, "files": {}, "seconds": 65.0, "versions": {}}
    write_stage(tmp_path / "data" / "T-train", done=done)
    write_stage(tmp_path / "models" / "T" / "jepa", log=BAR.format(40, 0.5))
    error = {"error": "ValueError: <b>no</b>", "failed": "2026-01-01", "pid": 1}
    write_stage(tmp_path / "policies" / "T" / "sac", failed=error, log="first\nlast <i>line</i>\n")
    return tmp_path


def test_stages_are_counted_by_state_and_folder(output):
    found = read_progress(output)
    assert found["counts"] == {"done": 1, "interrupted": 1, "failed": 1}
    assert found["kinds"]["models"] == {"interrupted": 1} and found["total"] == 3
    assert found["recent"] == [{"title": "data/T-train", "seconds": "65 s"}]
    (failed,) = found["failed"]
    assert failed["title"] == "policies/T/sac" and "<b>no</b>" in failed["detail"]
    assert failed["log"] == ["first", "last <i>line</i>"]


def test_an_empty_or_missing_folder_has_no_stages(tmp_path):
    assert read_progress(tmp_path / "nowhere")["total"] == 0


def test_the_progress_bar_gives_percent_time_left_and_a_curve(tmp_path):
    lines = [BAR.format(percent, value) for percent, value in ((10, 0.9), (20, 0.9), (30, 0.4))]
    (tmp_path / "stage.log").write_text("\r".join(lines), encoding="utf-8")
    found = read_log(tmp_path)
    assert (found["percent"], found["left"]) == (30, "12:03")
    assert found["curve"] == {"name": "prediction", "values": [0.9, 0.4]}
    assert read_log(tmp_path / "nowhere") == {
        "log": [],
        "percent": None,
        "left": None,
        "curve": None,
    }


def test_a_long_curve_is_thinned_and_keeps_its_last_value(tmp_path):
    lines = [BAR.format(10, number / 1000) for number in range(1, 1200)]
    (tmp_path / "stage.log").write_text("\r".join(lines), encoding="utf-8")
    values = read_log(tmp_path)["curve"]["values"]
    assert len(values) <= 120 and values[-1] == 1.199 and values == sorted(values)


@pytest.mark.slow
def test_the_page_shows_progress_and_failures_as_text(output):
    channel = Channel()
    server = LiveServer("watch", channel)
    try:
        message = read_progress(output)
        running = {"title": "models/T/jepa", "detail": "process 1"} | read_log(
            output / "models" / "T" / "jepa"
        )
        running["curve"] = {"name": "prediction", "values": [0.9, 0.5, 0.4]}
        channel.publish({**message, "running": [running]})
        with open_page(server.url, viewport={"width": 390, "height": 844}) as page:
            page.get_by_text("1 of 3").wait_for()
            assert "ValueError: <b>no</b>" in page.locator("#failed").inner_text()
            assert "40 %, 12:03 left" in page.locator("#running").inner_text()
            assert page.get_by_role("img", name="prediction from 0.9 to 0.4").is_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            page.get_by_text("Last lines of its log").click()
            channel.publish({**message, "running": []})
            page.get_by_text("No stage is running.").wait_for()
            assert "last <i>line</i>" in page.locator("#failed pre").inner_text()
    finally:
        server.close()
