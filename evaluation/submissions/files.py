"""The files of a submission, read with every size checked first, and JSON of unknown origin.

Links are not followed, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.text import escape_text, find_hidden

MANIFEST, ROWS, ACTIONS, README = "submission.json", "episodes.parquet", "actions.npz", "README.md"
DIAGNOSTICS, IMAGINED = "diagnostics.json", "imagined.npz"
CHECKPOINTS = "checkpoints"
NEEDED = (MANIFEST, ROWS, ACTIONS)
MAX_BYTES = {
    MANIFEST: 1 << 18,
    README: 1 << 18,
    ROWS: 1 << 25,
    ACTIONS: 1 << 28,
    DIAGNOSTICS: 1 << 18,
    IMAGINED: 1 << 24,
}
MAX_CHECKPOINT_BYTES = 1 << 28  # together
_CHECKPOINT = re.compile(
    r"checkpoints(/[A-Za-z0-9][A-Za-z0-9_-]{0,63}){1,4}"
    r"/[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.(safetensors|json|npz)"
)
_MAX_FILES, _MAX_DEPTH = 400, 6
_MAX_JSON_DEPTH = 24
_LFS = b"version https://git-lfs.github.com/spec/"
# Windows has devices of these names in every folder, whatever follows the first dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])", re.IGNORECASE)


def read_files(folder: Path, *, complete: bool = True) -> dict[str, bytes]:
    """Return the content of a submission's files by name, with ``/`` between folders.

    Args:
        folder: Folder of the submission.
        complete: Refuse a folder in which a required file is missing.

    Raises:
        SubmissionError: A link, a special file, a name that is not allowed, too many files, or too
            large.
    """
    _check_folder(folder)
    names = list(_list_files(folder, ""))
    _check_cases(names)
    missing = [name for name in NEEDED if name not in names]
    if missing and complete:
        raise SubmissionError("files", f"{folder} lacks {', '.join(missing)}.")
    files, checkpoints = {}, 0
    for name in names:
        limit = MAX_BYTES.get(name, MAX_CHECKPOINT_BYTES - checkpoints)
        files[name] = _read_bounded(folder, name, limit)
        checkpoints += 0 if name in MAX_BYTES else len(files[name])
    return files


def read_manifest_file(folder: Path) -> bytes:
    """Return the content of the manifest alone.

    Raises:
        SubmissionError: As ``read_files``.
    """
    _check_folder(folder)
    return _read_bounded(folder, MANIFEST, MAX_BYTES[MANIFEST])


def folder_digest(folder: Path) -> str:
    """Return a hash of the names and contents of a submission's files.

    Raises:
        SubmissionError: As ``read_files``.
    """
    return hash_files(read_files(folder))


def hash_files(files: Mapping[str, bytes]) -> str:
    """Return a hash of names and contents."""
    lines = [
        f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in sorted(files.items())
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_readme(files: Mapping[str, bytes]) -> None:
    """Refuse a README that is not UTF-8 or holds characters that a reader does not see.

    Raises:
        SubmissionError: Names the character and its line.
    """
    try:
        lines = files.get(README, b"").decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise SubmissionError("files", f"{README} is not UTF-8: {error.reason}.") from None
    for number, line in enumerate(lines, start=1):
        if found := find_hidden(line.removesuffix("\r"), multiline=True):
            raise SubmissionError("files", f"{README}, line {number}, holds {found}.")


def _check_folder(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise SubmissionError("files", f"{folder} is not a folder.")
    if _DEVICES.fullmatch(folder.resolve().name):
        raise SubmissionError("files", f"{folder.name!r} is the name of a device on Windows.")


def _check_cases(names: Iterable[str]) -> None:
    """Refuse names of files and folders that differ only in case."""
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        for path in ("/".join(parts[: end + 1]) for end in range(len(parts))):
            if seen.setdefault(path.lower(), path) != path:
                raise SubmissionError(
                    "files", f"{path!r} and {seen[path.lower()]!r} differ only in case."
                )


def _list_files(folder: Path, prefix: str) -> list[str]:
    """Return the names of all files below a folder, before any of them is opened."""
    found: list[str] = []
    with os.scandir(folder / prefix) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    if prefix and not listed:
        raise SubmissionError(
            "files", f"{prefix[:200]!r} is an empty folder, which Git cannot hold."
        )
    for entry in listed:
        name = f"{prefix}/{entry.name}" if prefix else entry.name
        _check_entry(entry, name)
        if entry.is_dir(follow_symlinks=False):
            found += _list_files(folder, name)
        else:
            found.append(name)
        if len(found) > _MAX_FILES:
            raise SubmissionError("files", f"There are more than {_MAX_FILES} files.")
    return found


def _check_entry(entry: os.DirEntry[str], name: str) -> None:
    shown = repr(escape_text(name[:200]))
    if entry.is_symlink():
        raise SubmissionError("files", f"{shown} is a symbolic link; a submission has none.")
    is_folder = entry.is_dir(follow_symlinks=False)
    if not is_folder and not entry.is_file(follow_symlinks=False):
        raise SubmissionError("files", f"{shown} is not a regular file.")
    if entry.stat(follow_symlinks=False).st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        raise SubmissionError("files", f"{shown} has a setuid, setgid or sticky bit.")
    if _DEVICES.fullmatch(entry.name.partition(".")[0]):
        raise SubmissionError("files", f"{shown} is the name of a device on Windows.")
    if is_folder:
        outside = "/" not in name and entry.name != CHECKPOINTS
        if outside or name.count("/") >= _MAX_DEPTH:
            raise SubmissionError("files", f"{shown} is not allowed in a submission.")
    elif name not in MAX_BYTES and not _CHECKPOINT.fullmatch(name):
        raise SubmissionError(
            "files",
            f"{shown} is not allowed in a submission. It holds {', '.join(MAX_BYTES)} and "
            "checkpoints/TASK/seedN/... of .safetensors, .json and .npz.",
        )


def _read_bounded(folder: Path, name: str, limit: int) -> bytes:
    """Read a regular file, checking the size and type of the open file, so that none is swapped."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = f"{folder} lacks {name}" if missing else f"{name} cannot be opened"
        raise SubmissionError("files", f"{why}: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SubmissionError("files", f"{name} is not a regular file.")
        content = file.read(limit + 1) if found.st_size <= limit else None
    if content is None or len(content) > limit:
        raise SubmissionError("files", f"{name} is larger than the limit of {limit} bytes.")
    if content.startswith(_LFS):
        raise SubmissionError(
            "files", f"{name} is a Git LFS pointer. Submissions hold the file itself."
        )
    return content


def parse_json(content: bytes, name: str, *, check: str = "manifest", finite: bool = True) -> Any:
    """Parse JSON of unknown origin, within limits that no honest file reaches.

    Args:
        content: Content of the file.
        name: Name of the file.
        check: That refuses it.
        finite: Refuse NaN and infinity, which Python writes although JSON has neither.

    Raises:
        SubmissionError: Not UTF-8, not JSON, a duplicate key, a number that is not finite, or too
            deep.
    """
    try:
        tree = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_refuse_constant if finite else float,
            parse_float=_parse_finite if finite else float,
        )
    except RecursionError:
        raise SubmissionError(
            check, f"{name} is nested deeper than {_MAX_JSON_DEPTH} levels."
        ) from None
    except (UnicodeDecodeError, ValueError) as error:
        raise SubmissionError(check, f"{name} is not readable JSON: {str(error)[:300]}") from None
    level = [tree]
    for _ in range(_MAX_JSON_DEPTH):
        level = [
            item
            for node in level
            if isinstance(node, (dict, list))
            for item in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise SubmissionError(check, f"{name} is nested deeper than {_MAX_JSON_DEPTH} levels.")
    return tree


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:60]!r} is duplicated")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _parse_finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:30]} is too large")
    return float(text)
