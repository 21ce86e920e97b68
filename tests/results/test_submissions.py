"""What is in results/submissions is what it says, and has the badges that it was given."""

from pathlib import Path

import pytest

from jepabench.evaluation.submissions.submission import read_submission
from jepabench.evaluation.verification.records import find_badges
from jepabench.evaluation.verification.replay import replay_submission
from jepabench.pipeline.suites import find_suite

RESULTS = Path(__file__).parents[2] / "results"
FOLDERS = sorted(path for path in (RESULTS / "submissions").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_is_valid_and_has_a_record(folder):
    submission = read_submission(folder, find_suite)
    assert submission.manifest.code.dirty is False
    assert find_badges(folder, RESULTS / "verified")[:2] == ("valid", "replayed")
    if submission.manifest.agent.name == "goal-seeker":
        replay_submission(submission)


def test_each_record_is_of_a_submission():
    assert {path.stem for path in (RESULTS / "verified").glob("*.json")} == {
        folder.name for folder in FOLDERS
    }
