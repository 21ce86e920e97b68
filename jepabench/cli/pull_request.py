"""Prepare a pull request with a submission: a branch with one commit, and the description.

The commit is built with a temporary index, so the files and the index of the clone do not change.
Nothing is pushed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jepabench.envs.task import short_name
from jepabench.pipeline.presets.search_path import ConfigError

FOLDER = "results/submissions"  # of the repository
_NO_COMMIT = "0" * 40


@dataclass(frozen=True)
class Clone:
    """A clone of the project's repository.

    Attributes:
        top: Top folder of the clone.
        head: Commit from which the branch starts.
    """

    top: Path
    head: str


def find_clone(name: str) -> Clone:
    """Return the clone in which the command runs. Call it before any work starts.

    Args:
        name: Name of the submission.

    Raises:
        ConfigError: Git, the clone of the project or the identity for commits is missing, or a
            branch or a submission of this name exists.
    """
    top = Path(_git(Path.cwd(), "rev-parse", "--show-toplevel", wrong="Run it inside a clone."))
    if not (top / FOLDER).is_dir():
        raise ConfigError(
            f"--pull-request: {top} has no folder {FOLDER}. Run it inside a clone of JEPA Bench."
        )
    _git(top, "var", "GIT_COMMITTER_IDENT", wrong="Set user.name and user.email with git config.")
    clone = Clone(top, _git(top, "rev-parse", "HEAD", wrong="The clone has no commit."))
    branches = _git(top, "branch", "--list", branch_name(name), "--format=%(refname:short)")
    if branches:
        raise ConfigError(
            f"--pull-request: the branch {branches} exists. Choose another name=, or delete it."
        )
    if _git(top, "ls-tree", clone.head, f"{FOLDER}/{name}"):
        raise ConfigError(f"--pull-request: {FOLDER}/{name} exists. Choose another name=.")
    return clone


def branch_name(name: str) -> str:
    """Return the name of a submission's branch."""
    return f"submission/{name}"


def create_branch(clone: Clone, folder: Path) -> str:
    """Commit a submission on a new branch and return the branch's name.

    Args:
        clone: Clone in which the branch is created.
        folder: Folder of the submission.

    Raises:
        ConfigError: Git fails, for instance because the branch exists by now.
    """
    branch = branch_name(folder.name)
    with tempfile.TemporaryDirectory() as temporary:
        index = {"GIT_INDEX_FILE": str(Path(temporary) / "index")}
        _git(clone.top, "read-tree", clone.head, extra=index)
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            blob = _git(clone.top, "hash-object", "-w", "--no-filters", str(path.resolve()))
            name = f"{FOLDER}/{folder.name}/{path.relative_to(folder).as_posix()}"
            entry = f"100644,{blob},{name}"
            _git(clone.top, "update-index", "--add", "--cacheinfo", entry, extra=index)
        tree = _git(clone.top, "write-tree", extra=index)
    message = f"Add submission {folder.name}"
    commit = _git(clone.top, "commit-tree", tree, "-p", clone.head, "-m", message)
    _git(clone.top, "update-ref", f"refs/heads/{branch}", commit, _NO_COMMIT)
    return branch


def write_description(folder: Path) -> Path:
    """Write the description of the pull request beside the submission, and return its path."""
    manifest = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
    agent = manifest["agent"]
    track = agent["track"]
    lines = [
        f"Add submission {folder.name}",
        "",
        manifest["description"] or f"Results of {agent['name']}.",
        "",
        f"- authors: {', '.join(manifest['authors']) or 'not stated'}",
        f"- link: {manifest['link'] or 'not stated'}",
        f"- track: observes {track['observation']}, data {track['data']}, "
        f"privilege {track['privilege']}",
        f"- training seeds: {', '.join(map(str, manifest['training_seeds']))}",
        f"- command: `{manifest['command']}`",
        "",
        *_list_rows(folder),
        "",
        f"`jepabench verify {FOLDER}/{folder.name}` checks levels 1 and 2.",
    ]
    path = folder.parent / f"{folder.name}.pull-request.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _list_rows(folder: Path) -> list[str]:
    """Return the success table of a submission as Markdown."""
    from jepabench.evaluation.records import read_records
    from jepabench.evaluation.statistics.success_tables import score_table

    table = score_table(read_records(folder / "episodes.parquet"))
    rows = [
        f"| {short_name(row['task'])} | {row['stratum']} | {row['episodes']} "
        f"| {100 * row['success_held']:.0f} % "
        f"| {100 * row['held_low']:.0f} to {100 * row['held_high']:.0f} % |"
        for row in table.to_dict("records")
    ]
    return ["| task | stratum | episodes | held | 95 % interval |", "|---|---|---|---|---|", *rows]


def _git(
    top: Path, *arguments: str, extra: Mapping[str, str] | None = None, wrong: str = ""
) -> str:
    """Return the output of a git command.

    Raises:
        ConfigError: Git is missing or fails.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=top,
            env={**os.environ, **(extra or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"--pull-request needs git: {error}.") from error
    if done.returncode:
        reason = " ".join(done.stderr.split())[:200]
        raise ConfigError(f"--pull-request: git {arguments[0]} failed: {reason} {wrong}".strip())
    return done.stdout.strip()
