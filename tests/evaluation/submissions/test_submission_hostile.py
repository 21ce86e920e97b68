"""Test that hostile submissions are refused with the reason and without side effects."""

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


def test_the_honest_submission_is_valid_and_replayed(true):
    found = verify(true, find_suite)
    assert (found.reason, found.badges) == ("", ("valid", "replayed"))
    assert found.episodes == 10


def test_diagnostics_of_world_models_are_optional(true, tmp_path):
    folder = shutil.copytree(true, tmp_path / "seeker")
    add_diagnostics(folder)
    found = verify(folder, find_suite)
    assert (found.reason, found.badges) == ("", ("valid", "replayed"))


def test_at_least_the_stated_number_of_hostile_kinds_is_tested():
    assert len(KINDS) >= 200


@pytest.mark.parametrize("name", KINDS)
def test_hostile_submission_is_refused_with_reason_and_writes_nothing(
    name, true, tmp_path, monkeypatch
):
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
