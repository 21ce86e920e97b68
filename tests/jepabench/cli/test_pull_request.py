"""Test `submit --pull-request`: one commit on a new branch, a description, no other change."""

import json
import subprocess

import pytest

from jepabench.cli.pull_request import FOLDER, create_branch, find_clone, write_description
from jepabench.main import main
from jepabench.pipeline.presets.search_path import ConfigError


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Return a function that runs git in a small clone, which is the working directory."""
    for key in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{key}_NAME", "A. Tester")
        monkeypatch.setenv(f"{key}_EMAIL", "tester@example.org")
    top = tmp_path / "my clone"
    (top / FOLDER).mkdir(parents=True)
    (top / FOLDER / "README.md").write_text("Submissions.\n", encoding="utf-8")

    def git(*arguments):
        command = ["git", "-C", str(top), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch", "main")
    git("add", ".")
    git("commit", "--quiet", "-m", "Start")
    monkeypatch.chdir(top)
    return git


@pytest.fixture
def submission(tmp_path):
    folder = tmp_path / "submissions" / "mine-smoke-v1"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "submission.json").write_text(json.dumps({"a": 1}), encoding="utf-8")
    (folder / "checkpoints" / "weights.npz").write_bytes(bytes(range(256)) + b"\r\n")
    return folder


def test_the_branch_holds_the_submission_and_the_clone_stays_as_it_is(clone, submission):
    note = submission.parents[1] / "my clone" / "note.txt"
    note.write_text("unfinished", encoding="utf-8")
    clone("add", "note.txt")
    before = (clone("status", "--porcelain"), clone("rev-parse", "HEAD"))
    branch = create_branch(find_clone(submission.name), submission)
    assert branch == "submission/mine-smoke-v1"
    assert (clone("status", "--porcelain"), clone("rev-parse", "HEAD")) == before
    assert note.read_text(encoding="utf-8") == "unfinished"
    changed = clone("diff", "--name-status", "main", branch).splitlines()
    assert changed == [
        f"A\t{FOLDER}/mine-smoke-v1/checkpoints/weights.npz",
        f"A\t{FOLDER}/mine-smoke-v1/submission.json",
    ]
    size = clone("cat-file", "-s", f"{branch}:{FOLDER}/mine-smoke-v1/checkpoints/weights.npz")
    assert size == "258"
    assert clone("log", "-1", "--format=%s", branch) == "Add submission mine-smoke-v1"
    with pytest.raises(ConfigError, match="exists"):
        find_clone(submission.name)


def test_an_existing_submission_name_is_refused(clone, submission):
    clone("mv", f"{FOLDER}/README.md", f"{FOLDER}/mine-smoke-v1")
    clone("commit", "--quiet", "-m", "Take the name")
    with pytest.raises(ConfigError, match="exists"):
        find_clone("mine-smoke-v1")


def test_a_pull_request_needs_a_clone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["submit", "random", "suite=smoke", "--pull-request"]) == 2
    assert "--pull-request" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_another_repository_is_refused(clone):
    clone("rm", "-r", "--quiet", "results")
    with pytest.raises(ConfigError, match="has no folder"):
        find_clone("mine")


def test_the_description_states_the_facts_for_a_reviewer(clone, tmp_path, capsys):
    to = f"to={tmp_path / 'submissions'}"
    output = f"output={tmp_path / 'outputs'}"
    command = ["submit", "hold-still", "suite=smoke", "authors=A. Tester", to, output]
    assert main([*command, "name=still", "--pull-request"]) == 0
    shown = capsys.readouterr().out
    assert "git push -u origin submission/still" in shown
    text = (tmp_path / "submissions" / "still.pull-request.md").read_text(encoding="utf-8")
    assert "A. Tester" in text and "| TwoRoom-v1 | near | 2 | 0 %" in text
    assert str(tmp_path) not in text
    assert f"{FOLDER}/still/episodes.parquet" in clone(
        "ls-tree", "-r", "--name-only", "submission/still"
    )
    assert write_description(tmp_path / "submissions" / "still").read_text(encoding="utf-8") == text
