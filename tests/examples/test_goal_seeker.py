"""Test an agent from a separate package, from `submit` to `verify`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
PACKAGE = HOME / "examples" / "goal-seeker"


def run(*command: str, cwd: Path, installed: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HOME), str(installed)])}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "goal-seeker"
    source.mkdir()
    for path in PACKAGE.iterdir():
        if path.is_file():  # no build folder is left in the clone
            (source / path.name).write_bytes(path.read_bytes())
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--no-deps",
    ]
    done = run(
        *pip,
        "--no-build-isolation",
        "--target",
        str(folder),
        str(source),
        cwd=folder,
        installed=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_package_that_only_implements_an_agent_makes_a_submission_that_is_replayed(
    installed, tmp_path
):
    submit = [
        sys.executable,
        "-m",
        "jepabench",
        "submit",
        "goal-seeker",
        "suite=smoke",
        "authors=A. Stranger; B. Stranger",
    ]
    done = run(*submit, cwd=tmp_path, installed=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "submissions" / "goal-seeker-smoke-v2"
    agent = json.loads((folder / "submission.json").read_text(encoding="utf-8"))["agent"]
    assert agent["package"] == "goal-seeker 1.0.0"
    assert agent["track"] == {"observation": "state", "data": "none", "privilege": "none"}
    # Whoever checks it need not have it.
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    verify = [sys.executable, "-m", "jepabench", "verify", str(folder), "--json"]
    done = run(*verify, cwd=nothing, installed=nothing)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["badges"] == ["valid", "replayed"]
    assert not list(nothing.iterdir())


def test_a_mistyped_agent_of_another_package_is_explained(tmp_path):
    cases = {
        "goal_seeker_:GoalSeeker": "No module named",
        "json:Nothing": "no attribute",
        "json:JSONDecoder": "lacks reset",
    }
    for name, message in cases.items():
        done = run(
            sys.executable,
            "-m",
            "jepabench",
            "submit",
            name,
            "suite=smoke",
            cwd=tmp_path,
            installed=tmp_path,
        )
        assert done.returncode == 2
        assert message in done.stderr and "Traceback" not in done.stderr
