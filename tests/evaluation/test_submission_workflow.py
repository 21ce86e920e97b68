"""The workflow that checks pull requests: what it may do, and which folders it looks at."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HOME = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load(
    (HOME / ".github/workflows/verify-submission.yml").read_text(encoding="utf-8")
)


def test_it_may_read_only_has_no_secrets_and_runs_the_code_of_the_base():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert set(WORKFLOW[True]) == {
        "pull_request"
    }  # YAML reads `on` as true; pull_request_target would have secrets
    text = (HOME / ".github/workflows/verify-submission.yml").read_text(encoding="utf-8")
    assert "secrets." not in text and "github.event.pull_request.title" not in text
    steps = WORKFLOW["jobs"]["verify"]["steps"]
    assert all(step["uses"].rpartition("@v")[2].isdigit() for step in steps if "uses" in step)
    assert not any("head" in str(step.get("working-directory", "")) for step in steps)
    assert not any(
        "${{" in step.get("run", "") for step in steps
    )  # nothing of the pull request becomes shell


def changed(tmp_path: Path, *names: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "list").write_text("".join(f"{name}\0" for name in names), encoding="utf-8")
    script = [
        sys.executable,
        str(HOME / ".github/changed_submissions.py"),
        str(tmp_path),
        str(tmp_path / "list"),
    ]
    return subprocess.run(script, capture_output=True, text=True, check=False, cwd=tmp_path)


def step(name: str) -> dict:
    return next(step for step in WORKFLOW["jobs"]["verify"]["steps"] if step.get("name") == name)


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def pull_request(tmp_path):
    """Runs the step that lists changes, as it is written, on what ``change`` does to a repository with one submission."""

    def run(change) -> subprocess.CompletedProcess[str]:
        head = tmp_path / "head"
        (head / "results/submissions/mine").mkdir(parents=True)
        (head / "results/submissions/mine/README.md").write_text("mine", encoding="utf-8")
        (head / "rules.py").write_text(
            "\n".join(f"rule_{number} = {number}" for number in range(50)), encoding="utf-8"
        )
        git(head, "init", "--quiet")
        git(head, "add", "--all")
        git(head, "commit", "--quiet", "--message", "base")
        base = git(head, "rev-parse", "HEAD")
        change(head)
        git(head, "add", "--all")
        git(head, "commit", "--quiet", "--message", "pull request")
        (tmp_path / "base").symlink_to(HOME)
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/python").symlink_to(sys.executable)
        paths = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-e", "-c", step("Which submissions were changed")["run"]],
            cwd=tmp_path,
            check=False,
            env={**os.environ, "PATH": paths, "BASE": base},
            capture_output=True,
            text=True,
        )

    return run


def test_the_step_lists_a_new_submission_and_says_which_one_is_gone(pull_request, tmp_path):
    def change(head):
        (head / "results/submissions/mine").rename(head / "results/submissions/yours")

    done = pull_request(change)
    assert done.returncode == 0 and done.stderr == "mine is taken away.\n"
    listed = (tmp_path / "folders").read_text(encoding="utf-8").split("\0")
    assert [Path(name).name for name in listed] == ["yours", ""]


def test_a_file_of_the_project_that_is_moved_into_a_submission_is_missed(pull_request, tmp_path):
    def change(head):
        (head / "rules.py").rename(head / "results/submissions/mine/rules.md")

    done = pull_request(change)
    assert done.returncode == 1 and "'rules.py' is no file of a submission" in done.stderr
    assert (tmp_path / "folders").read_text(encoding="utf-8") == ""


def test_folders_that_were_changed_are_found_once(tmp_path):
    for name in ("a-one", "b"):
        (tmp_path / "results/submissions" / name).mkdir(parents=True)
    done = changed(
        tmp_path,
        "results/submissions/b/actions.npz",
        "results/submissions/a-one/submission.json",
        "results/submissions/b/episodes.parquet",
        "results/submissions/gone/README.md",
    )
    assert done.returncode == 0
    found = [Path(name).relative_to(tmp_path) for name in done.stdout.split("\0") if name]
    assert found == [Path("results/submissions/a-one"), Path("results/submissions/b")]


@pytest.mark.parametrize(
    "name",
    [
        "results/verified/b.json",
        "evaluation/verification/levels.py",
        ".github/workflows/verify-submission.yml",
        "results/submissions/README.md",
        "results/submissions/../verified/b.json",
        "results/submissions/$(touch x)/a",
    ],
)
def test_anything_else_in_the_same_pull_request_is_refused(name, tmp_path):
    done = changed(tmp_path, "results/submissions/b/actions.npz", name)
    assert done.returncode == 1 and "nothing else" in done.stderr and not done.stdout
