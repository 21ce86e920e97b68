"""Run a small suite through the command line: to the end, interrupted, and with wrong arguments."""

import json
import os
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

COLUMNS = [
    "task",
    "stratum",
    "agent",
    "episodes",
    "seeds",
    "success_held",
    "success_ever",
    "success_final",
    "held_low",
    "held_high",
    "ms_per_step",
    "model_steps",
    "transitions",
    "train_seconds",
]


def jepabench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jepabench", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def outcomes(folder: Path) -> pd.DataFrame:
    files = sorted(folder.glob("outputs/smoke/evaluations/*/*/*/episodes.parquet"))
    table = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    return table.drop(columns=[name for name in table if name.startswith("planning")])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    done = jepabench("run", "suite=smoke", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_smoke_suite_makes_a_table_and_a_report_with_films(finished):
    table = pd.read_csv(finished / "outputs/smoke/table.csv")
    assert list(table.columns[: len(COLUMNS)]) == COLUMNS
    assert len(table) == 10 and (table["episodes"] == 2).all()
    expert = table.set_index("agent").loc["expert"]
    assert expert["success_held"] == 1.0
    assert table.set_index("agent").loc["hold-still", "success_ever"] == 0.0
    report = finished / "outputs/smoke/report"
    page = (report / "index.html").read_text(encoding="utf-8")
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            links.extend(
                value
                for name, value in attrs
                if name in ("src", "href") and value and not value.startswith("#")
            )

    Links().feed(page)
    assert links and all((report / link).exists() for link in links if not link.startswith("data:"))
    assert "jepa-cem" in page


@pytest.mark.slow
def test_evaluation_records_its_device(finished):
    costs = list(finished.rglob("cost.json"))
    assert costs
    assert {json.loads(path.read_text(encoding="utf-8"))["device"] for path in costs} == {"cpu"}


@pytest.mark.slow
def test_a_finished_run_does_nothing_and_reports_it(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("episodes.parquet")}
    again = jepabench("run", "suite=smoke", cwd=finished)
    assert again.returncode == 0
    assert "done already" in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("episodes.parquet")}


@pytest.mark.slow
def test_repeated_kills_do_not_change_the_outcomes(finished, tmp_path):
    for seconds in (6, 9, 12):
        process = subprocess.Popen(
            [sys.executable, "-m", "jepabench", "run", "suite=smoke"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)  # the parent alone: its workers must notice
            process.wait()
    last = jepabench("run", "suite=smoke", cwd=tmp_path)
    assert last.returncode == 0, last.stdout + last.stderr
    pd.testing.assert_frame_equal(outcomes(tmp_path), outcomes(finished))


@pytest.mark.slow
def test_another_configuration_is_not_written_over_a_finished_one(finished):
    refused = jepabench(
        "run",
        "suite=smoke",
        "suite.tasks=[{task_id:jepabench/TwoRoom-v1,strata:[near],num_episodes:3}]",
        cwd=finished,
    )
    assert refused.returncode != 0
    assert "another configuration" in refused.stderr
    assert len(outcomes(finished)) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "suite=quik"], "Did you mean 'quick'"),
        (["run", "suite=smoke", "agent=hold-stil"], "Did you mean 'hold-still'"),
        (["run", "suite=smoke", "suite.training_seedz=[1]"], "Did you mean 'suite.training_seeds'"),
        (["run", "suite=smoke", "nonsense"], "key=value"),
        (["check-env", "jepabench/TwoRom-v1"], "Did you mean 'jepabench/TwoRoom-v1'"),
        (
            ["collect", "jepabench/TwoRoom-v1", "data", "--behaviour", "expret"],
            "Did you mean 'expert'",
        ),
        (["train", "nowhere", "nowhere", "model"], "nowhere"),
        (["train", "a", "b", "c", "--world-model", "japa"], "Did you mean 'jepa'"),
        (
            ["train", "a", "b", "c", "--world-model", "jepa", "model.latent_dim=8"],
            "There is no dataset at a",
        ),
        (["report", "suite=smoke"], "Nothing is evaluated yet"),
    ],
)
def test_a_mistake_prints_one_helpful_sentence(arguments, message, tmp_path):
    done = jepabench(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr and "Traceback" not in done.stderr


def test_help_is_fast_and_imports_no_heavy_package(tmp_path):
    code = (
        "import sys, jepabench.main as m\ntry: m.main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'mujoco', 'pandas', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


def test_importing_envs_never_imports_torch(tmp_path):
    code = (
        "import sys, jepabench.envs.data.collect, jepabench.envs.checks.checker\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("room", ["envs", "world_models", "agents", "evaluation", "results", "cli"])
def test_every_package_is_imported_from_jepabench(room):
    import importlib

    file = Path(importlib.import_module(f"jepabench.{room}").__file__ or "")
    home = Path(__file__).parents[2]
    assert file.is_relative_to(home), f"{room} is shadowed by {file}"
