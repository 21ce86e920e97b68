"""Hashes of the code and the environment that a verification ran with."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from jepabench.evaluation.verification.sandbox import PACKAGE

SIMULATORS = ("mujoco", "pymunk")
_SKIPPED = {"__pycache__", ".git", ".venv"}


def simulator_versions() -> dict[str, str]:
    """Return the installed version of each simulator; traces hold for one version only."""
    return {name: _installed_version(name) for name in SIMULATORS}


def hash_code(python_path: Iterable[Path] = ()) -> str:
    """Return a hash of this package's Python files and of all files in the given folders."""
    lines = _file_lines(PACKAGE, "*.py")
    for folder in python_path:
        lines += ["--code\n", *_file_lines(folder, "*")]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def hash_environment() -> str:
    """Return a hash of interpreter, machine type and the files of all installed distributions."""
    lines = [f"python {sys.version.split()[0]} {platform.machine()} {platform.system()}"]
    for found in metadata.distributions():
        record = found.read_text("RECORD") or ""
        # Compiled files are listed or not, depending on how the distribution was installed.
        files = sorted(line for line in record.splitlines() if ".pyc," not in line)
        digest = hashlib.sha256("\n".join(files).encode()).hexdigest()
        lines.append(f"{found.metadata['Name']} {found.version} {digest}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@cache
def _installed_version(name: str) -> str:
    return metadata.version(name)  # parses the metadata of the distribution, which is slow


def _file_lines(folder: Path, pattern: str) -> list[str]:
    """Return name and hash of each file; a symbolic link directly in ``folder`` is followed."""
    lines = []
    for top in folder.iterdir():
        root = top.resolve()
        for path in [root] if root.is_file() else root.rglob(pattern):
            inside = (top.name, *path.relative_to(root).parts)
            if _SKIPPED.isdisjoint(inside) and path.is_file() and path.match(pattern):
                lines.append(
                    f"{'/'.join(inside)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
                )
    return sorted(lines)
