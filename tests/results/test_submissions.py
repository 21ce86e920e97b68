"""Test that committed submissions are valid and verified, or follow an older protocol."""

from pathlib import Path

import pytest

from jepabench.evaluation.protocol import PROTOCOL_VERSION
from jepabench.evaluation.submissions.manifest import read_manifest
from jepabench.evaluation.submissions.submission import Refusal, read_or_refuse, read_submission
from jepabench.evaluation.verification.records import find_badges
from jepabench.evaluation.verification.replay import replay_submission
from jepabench.pipeline.suites import find_suite

RESULTS = Path(__file__).parents[2] / "results"
FOLDERS = sorted(path for path in (RESULTS / "submissions").iterdir() if path.is_dir())
PROTOCOLS = {
    folder: read_manifest((folder / "submission.json").read_bytes(), folder.name).protocol_version
    for folder in FOLDERS
}
CURRENT = [folder for folder in FOLDERS if PROTOCOLS[folder] == PROTOCOL_VERSION]


@pytest.mark.parametrize("folder", CURRENT, ids=lambda folder: folder.name)
def test_each_submission_is_valid_and_has_a_record(folder):
    submission = read_submission(folder, find_suite)
    assert submission.manifest.code.dirty is False
    assert find_badges(folder, RESULTS / "verified")[:2] == ("valid", "replayed")
    if submission.manifest.agent.name == "goal-seeker":
        replay_submission(submission)


def test_older_protocols_are_refused_and_have_no_badges():
    for folder in set(FOLDERS) - set(CURRENT):
        found = read_or_refuse(folder, find_suite)
        assert isinstance(found, Refusal) and "different protocols" in found.reason
        assert not find_badges(folder, RESULTS / "verified")


def test_each_record_is_of_a_submission():
    assert {path.stem for path in (RESULTS / "verified").glob("*.json")} == {
        folder.name for folder in FOLDERS
    }
