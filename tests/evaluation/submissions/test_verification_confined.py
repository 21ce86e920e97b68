"""Test that a check in its own process gives the same result and survives hostile files."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_submissions import KINDS
from tiny_submission import find_suite, write_true

from jepabench.evaluation.verification.confined import verify_confined
from jepabench.evaluation.verification.levels import verify
from jepabench.evaluation.verification.limits import Limits


@pytest.fixture(scope="module")
def true(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("true") / "seeker"
    write_true(folder)
    return folder


def test_a_confined_check_agrees_with_a_check_in_this_process(true):
    counted: list[int] = []
    found = verify_confined(true, find_suite, progress=counted.append)
    assert replace(found, seconds=0.0) == replace(verify(true, find_suite), seconds=0.0)
    assert found.badges == ("valid", "replayed") and sum(counted) == 10


def test_a_check_that_runs_out_of_memory_is_a_refusal(true):
    found = verify_confined(true, find_suite, limits=Limits(memory=1 << 16, seconds=60))
    assert not found.passed and found.badges == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "pipe-that-never-ends",
        "terabyte-of-nothing",
        "100000-levels",
        "suite-that-is-a-path",
        "rows-with-a-damaged-page",
        "millions-of-rows",
        "few-bytes-that-unfold",
        "bomb-that-gives-its-size-as-small",
        "pickled-actions",
        "one-flag-flipped",
    ],
)
def test_hostile_kinds_are_refused_with_the_same_message(name, true, tmp_path):
    folder = tmp_path / "seeker"
    shutil.copytree(true, folder)
    KINDS[name].make(folder)
    found = verify_confined(folder, find_suite, limits=Limits(memory=1 << 29, seconds=60))
    assert found.check == KINDS[name].check, found.reason
