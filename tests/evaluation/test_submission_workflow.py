"""The workflow that checks pull requests: what it may do, and which folders it looks at."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HOME = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((HOME / ".github/workflows/verify-submission.yml").read_text())


def test_it_may_read_only_has_no_secrets_and_runs_the_code_of_the_base():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert set(WORKFLOW[True]) == {"pull_request"}  # YAML reads `on` as true; pull_request_target would have secrets
    text = (HOME / ".github/workflows/verify-submission.yml").read_text()
    assert "secrets." not in text and "github.event.pull_request.title" not in text
    steps = WORKFLOW["jobs"]["verify"]["steps"]
    assert all(step["uses"].rpartition("@v")[2].isdigit() for step in steps if "uses" in step)
    assert not any("head" in str(step.get("working-directory", "")) for step in steps)
    assert not any("${{" in step.get("run", "") for step in steps)  # nothing of the pull request becomes shell


def changed(tmp_path: Path, *names: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "list").write_text("".join(f"{name}\0" for name in names))
    script = [sys.executable, str(HOME / ".github/changed_submissions.py"), str(tmp_path), str(tmp_path / "list")]
    return subprocess.run(script, capture_output=True, text=True, check=False, cwd=tmp_path)


def test_folders_that_were_changed_are_found_once(tmp_path):
    for name in ("a-one", "b"):
        (tmp_path / "results/submissions" / name).mkdir(parents=True)
    done = changed(
        tmp_path, "results/submissions/b/actions.npz", "results/submissions/a-one/submission.json",
        "results/submissions/b/episodes.parquet", "results/submissions/gone/README.md",
    )  # fmt: skip
    assert done.returncode == 0
    found = [Path(name).relative_to(tmp_path) for name in done.stdout.split("\0") if name]
    assert found == [Path("results/submissions/a-one"), Path("results/submissions/b")]


@pytest.mark.parametrize(
    "name",
    [
        "results/verified/b.json", "evaluation/verification.py", ".github/workflows/verify-submission.yml",
        "results/submissions/README.md", "results/submissions/../verified/b.json", "results/submissions/$(touch x)/a",
    ],
)  # fmt: skip
def test_anything_else_in_the_same_pull_request_is_refused(name, tmp_path):
    done = changed(tmp_path, "results/submissions/b/actions.npz", name)
    assert done.returncode == 1 and "nothing else" in done.stderr and not done.stdout
