"""Run commands in unusual folders: odd names, behind links, on other mounts, not writable."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from jepabench.main import main

ODD = "Größe 100%, [v2] a=b {c: d} (é) it's"


def is_other_mount(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and os.path.ismount(folder)


@pytest.fixture(params=["odd name", "symbolic link", "other mount"])
def folder(request, tmp_path):
    if request.param == "odd name":
        yield tmp_path / ODD
    elif request.param == "symbolic link":
        (tmp_path / "real").mkdir()
        (tmp_path / ODD).symlink_to(tmp_path / "real", target_is_directory=True)
        yield tmp_path / ODD
    elif is_other_mount(Path("/dev/shm")):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
            yield Path(other) / ODD
    else:
        pytest.skip("/dev/shm is no mount that can be written to")


@pytest.mark.slow
def test_a_suite_and_its_report_work_in_every_folder(folder, capsys):
    settings = ["suite=smoke", "agent=random", f"output={folder}"]
    assert main(["run", *settings, "num_workers=1"]) == 0
    assert main(["report", *settings]) == 0
    assert (folder / "smoke" / "report" / "index.html").is_file()
    capsys.readouterr()
    query = "select agent, count(*) as n from episodes group by agent"
    assert main(["query", query, "--output", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"agent": "random", "n": 2}]


@pytest.mark.slow
def test_data_and_models_are_written_to_and_read_from_every_folder(folder):
    for split, count in (("train", "3"), ("validation", "2")):
        words = ["--split", split, "--episodes", count, "--steps", "8"]
        assert main(["collect", "TwoRoom", str(folder / split), *words, "--workers", "1"]) == 0
    model = folder / "my model, second"
    data = [str(folder / split) for split in ("train", "validation")]
    tiny = ["training.num_steps=2", "training.batch_size=2", "training.decoder_steps=1"]
    assert main(["train", *data, str(model), *tiny]) == 0
    assert (model / "model.json").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ["run", "suite=smoke", "agent=random", "num_workers=1", "output={}"],
        ["collect", "TwoRoom", "{}", "--episodes", "1", "--workers", "1"],
        ["submit", "random", "suite=smoke", "output={}"],
    ],
    ids=lambda words: words[0],
)
def test_an_output_folder_that_cannot_be_created_is_refused(words, capsys):
    folder = "/proc/jepabench"  # not even root may create it
    assert main([word.format(folder) for word in words]) in (1, 2)
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "/proc" in error and "\n" not in error
    assert "GB" not in error  # the reason is not a full disk
