"""A submission is what a stranger made: whatever is wrong with it, it is refused with the reason,
and nothing else happens.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
from hostile_submissions import KINDS
from tiny_submission import add_diagnostics, find_suite, write_true

from jepabench.evaluation.verification.levels import verify


@pytest.fixture(scope="module")
def true(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("true") / "seeker"
    write_true(folder)
    return folder


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What is below a folder, with inode, size and time of change; links are not followed."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            stat = (Path(parent) / name).lstat()
            found[f"{parent}/{name}"] = stat.st_ino, stat.st_size, stat.st_mtime_ns
    return found


def test_the_true_one_is_valid_and_replayed(true):
    found = verify(true, find_suite)
    assert (found.reason, found.badges) == ("", ("valid", "replayed"))
    assert found.episodes == 10


def test_what_its_makers_say_of_its_world_models_may_be_there(true, tmp_path):
    folder = shutil.copytree(true, tmp_path / "seeker")
    add_diagnostics(folder)
    found = verify(folder, find_suite)
    assert (found.reason, found.badges) == ("", ("valid", "replayed"))


def test_there_are_many_kinds():
    assert len(KINDS) >= 200


@pytest.mark.parametrize("name", KINDS)
def test_is_refused_with_the_reason_and_nothing_is_written(name, true, tmp_path, monkeypatch):
    kind = KINDS[name]
    folder = tmp_path / "there" / "seeker"
    shutil.copytree(true, folder)
    monkeypatch.chdir(tmp_path)
    kind.make(folder)
    before = everything(tmp_path)
    found = verify(folder, find_suite)
    assert not found.passed
    assert found.check == kind.check, found.reason
    assert re.search(kind.reason, found.reason), found.reason
    assert "re-run" not in found.badges and (found.badges == ("valid",)) == (
        kind.check == "replay" or "physics" in name
    )
    assert len(found.reason) < 5000
    assert everything(tmp_path) == before
