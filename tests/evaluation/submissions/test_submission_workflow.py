"""Test the workflow that checks pull requests: its permissions and the folders that it checks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HOME = Path(__file__).parents[3]
WORKFLOW = yaml.safe_load(
    (HOME / ".github/workflows/verify-submission.yml").read_text(encoding="utf-8")
)


def test_workflow_is_read_only_without_secrets_and_runs_the_code_of_the_base():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert set(WORKFLOW[True]) == {
        "pull_request"
    }  # YAML reads `on` as true; pull_request_target would have secrets
    text = (HOME / ".github/workflows/verify-submission.yml").read_text(encoding="utf-8")
    assert "secrets." not in text and "github.event.pull_request.title" not in text
    steps = WORKFLOW["jobs"]["verify"]["steps"]
    pinned = re.compile(r"actions/[a-z-]+@[0-9a-f]{40}")
    assert all(pinned.fullmatch(step["uses"]) for step in steps if "uses" in step)
    assert "--require-hashes" in text and "stop-commands" in text
    assert not any("head" in str(step.get("working-directory", "")) for step in steps)
    assert not any(
        "${{" in step.get("run", "") for step in steps
    )  # nothing of the pull request becomes shell


ADDED = f":000000 100644 {'0' * 40} {'1' * 40} A"


def changed(tmp_path: Path, *names: str, change: str = ADDED) -> subprocess.CompletedProcess[str]:
    listed = "".join(f"{change}\0{name}\0" for name in names)
    (tmp_path / "list").write_text(listed, encoding="utf-8")
    script = [
        sys.executable,
        str(HOME / ".github/changed_submissions.py"),
        str(tmp_path),
        str(tmp_path / "list"),
    ]
    return subprocess.run(script, capture_output=True, text=True, check=False, cwd=tmp_path)


def test_every_requirement_has_a_hash():
    text = (HOME / ".github/requirements-verify.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    names, hashes = lines[::2], lines[1::2]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+ \\", name) for name in names)
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in hashes)
    pinned = (HOME / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    assert all(name.removesuffix(" \\") in pinned for name in names)


def step(name: str) -> dict:
    return next(step for step in WORKFLOW["jobs"]["verify"]["steps"] if step.get("name") == name)


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def pull_request(tmp_path):
    """Run the step that lists changes on a repository with one submission."""

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
            ["bash", "-e", "-c", step("List new submissions")["run"]],
            cwd=tmp_path,
            check=False,
            env={**os.environ, "PATH": paths, "BASE": base},
            capture_output=True,
            text=True,
        )

    return run


def test_step_lists_a_new_submission(pull_request, tmp_path):
    def change(head):
        (head / "results/submissions/yours").mkdir()
        (head / "results/submissions/yours/README.md").write_text("yours", encoding="utf-8")

    done = pull_request(change)
    assert done.returncode == 0, done.stderr
    listed = (tmp_path / "folders").read_text(encoding="utf-8").split("\0")
    assert [Path(name).name for name in listed] == ["yours", ""]


def rename(head):
    (head / "results/submissions/mine").rename(head / "results/submissions/yours")


def change_content(head):
    (head / "results/submissions/mine/README.md").write_text("withdrawn", encoding="utf-8")


def delete(head):
    (head / "results/submissions/mine/README.md").unlink()


@pytest.mark.parametrize("change", [rename, change_content, delete])
def test_existing_submission_cannot_be_changed_or_deleted(change, pull_request, tmp_path):
    done = pull_request(change)
    assert done.returncode == 1 and "cannot be changed or deleted" in done.stderr
    assert (tmp_path / "folders").read_text(encoding="utf-8") == ""


def test_existing_submission_cannot_be_extended(tmp_path):
    done = changed(tmp_path, "results/submissions/random-quick-v2/README.md")
    assert done.returncode == 1 and "random-quick-v2 exists" in done.stderr


def link(head):
    (head / "results/submissions/yours").mkdir()
    (head / "results/submissions/yours/README.md").symlink_to("/etc/passwd")


def executable(head):
    (head / "results/submissions/yours").mkdir()
    (head / "results/submissions/yours/README.md").write_text("yours", encoding="utf-8")
    (head / "results/submissions/yours/README.md").chmod(0o755)


@pytest.mark.parametrize("change", [link, executable])
def test_special_files_are_refused(change, pull_request):
    done = pull_request(change)
    assert done.returncode == 1 and "has mode" in done.stderr


def test_submodule_is_refused(tmp_path):
    gitlink = f":000000 160000 {'0' * 40} {'1' * 40} A"
    done = changed(tmp_path, "results/submissions/yours/checkpoints", change=gitlink)
    assert done.returncode == 1 and "mode 160000" in done.stderr


def test_project_file_that_is_moved_into_a_submission_is_found(pull_request, tmp_path):
    def change(head):
        (head / "results/submissions/yours").mkdir()
        (head / "rules.py").rename(head / "results/submissions/yours/README.md")

    done = pull_request(change)
    assert done.returncode == 1 and "'rules.py' is not a file of a submission" in done.stderr
    assert (tmp_path / "folders").read_text(encoding="utf-8") == ""


def test_folders_are_listed_once(tmp_path):
    done = changed(
        tmp_path,
        "results/submissions/b/actions.npz",
        "results/submissions/a-one/submission.json",
        "results/submissions/b/episodes.parquet",
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
        "results/submissions/Upper/a",
        "results/submissions/b\n::error::x/a",
    ],
)
def test_pull_request_with_other_files_is_refused(name, tmp_path):
    done = changed(tmp_path, "results/submissions/b/actions.npz", name)
    assert done.returncode == 1 and "nothing else" in done.stderr and not done.stdout
    assert not any(line.startswith("::") for line in done.stderr.splitlines())


def test_change_list_in_another_format_is_refused(tmp_path):
    (tmp_path / "list").write_text("results/submissions/b/a\0", encoding="utf-8")
    script = [sys.executable, str(HOME / ".github/changed_submissions.py"), ".", "list"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1 and "git diff --raw -z" in done.stderr
