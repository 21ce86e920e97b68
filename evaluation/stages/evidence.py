"""What a stage records: checksums of its files, and the place of an error."""

from __future__ import annotations

import hashlib
import traceback
from pathlib import Path


def locate_error(error: BaseException) -> str:
    """Return file, line and function of the innermost frame of an error."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    return f"{frames[-1].filename}, line {frames[-1].lineno}, in {frames[-1].name}"


def checksum(path: Path) -> str:
    """Return the SHA-256 checksum of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def list_files(directory: Path) -> list[Path]:
    """Return all files below a directory, sorted."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


def file_size(path: Path) -> int | None:
    """Return the size of a file in bytes; None if there is no such file."""
    return path.stat().st_size if path.is_file() else None
