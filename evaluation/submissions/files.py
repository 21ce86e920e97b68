"""The files of a submission, read as what they are: something that a stranger made.

Every size is checked before it is read, paths are followed nowhere, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from jepabench.evaluation.records import SCHEMA

MANIFEST, ROWS, ACTIONS, README = "submission.json", "episodes.parquet", "actions.npz", "README.md"
DIAGNOSTICS, IMAGINED = "diagnostics.json", "imagined.npz"
CHECKPOINTS = "checkpoints"
NEEDED = (MANIFEST, ROWS, ACTIONS)
MOST_BYTES = {
    MANIFEST: 1 << 18,
    README: 1 << 18,
    ROWS: 1 << 25,
    ACTIONS: 1 << 28,
    DIAGNOSTICS: 1 << 18,
    IMAGINED: 1 << 24,
}
MOST_CHECKPOINT_BYTES = 1 << 28  # all together
_CHECKPOINT = re.compile(
    r"checkpoints(/[A-Za-z0-9][A-Za-z0-9_-]{0,63}){1,4}/[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.(safetensors|json|npz)"
)
_MOST_FILES, _DEEPEST = 400, 6
_MOST_TEXT = 200  # characters of a name in a row
_BYTES_A_ROW = 4096  # uncompressed, of one column; a dictionary of names included
_MOST_GROUPS = 1000


class SubmissionError(ValueError):
    """A submission that is refused.

    Attributes:
        check: which check: ``files``, ``manifest``, ``suite``, ``rows``, ``aggregates``, ``actions``, ``diagnostics``, ``replay`` or
            ``re-run``.
    """

    def __init__(self, check: str, reason: str) -> None:
        # It is shown in terminals and logs, and parts of it are the stranger's.
        super().__init__(
            "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in reason)
        )
        self.check = check


def read_files(folder: Path, *, complete: bool = True) -> dict[str, bytes]:
    """Returns the content of a submission's files by name, ``/`` between folders.

    Args:
        folder: of the submission.
        complete: refuse a folder in which a needed file lacks.

    Raises:
        SubmissionError: a link, a special file, a name that does not belong there, too many, or too large.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise SubmissionError("files", f"{folder} is no folder.")
    names = list(_listed(folder, ""))
    missing = [name for name in NEEDED if name not in names]
    if missing and complete:
        raise SubmissionError("files", f"{folder} lacks {', '.join(missing)}.")
    files, checkpoints = {}, 0
    for name in names:
        most = MOST_BYTES.get(name, MOST_CHECKPOINT_BYTES - checkpoints)
        files[name] = _read_bounded(folder, name, most)
        checkpoints += 0 if name in MOST_BYTES else len(files[name])
    return files


def read_manifest_file(folder: Path) -> bytes:
    """Returns the content of the manifest alone.

    Raises:
        SubmissionError: as ``read_files``.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise SubmissionError("files", f"{folder} is no folder.")
    return _read_bounded(folder, MANIFEST, MOST_BYTES[MANIFEST])


def folder_digest(folder: Path) -> str:
    """Returns a hash of the names and contents of a submission's files.

    Raises:
        SubmissionError: as ``read_files``.
    """
    return digest_of(read_files(folder))


def digest_of(files: Mapping[str, bytes]) -> str:
    """Returns a hash of names and contents."""
    lines = [
        f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in sorted(files.items())
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _listed(folder: Path, prefix: str) -> list[str]:
    """Returns the names of all files below a folder; refuses what does not belong there before anything is opened."""
    found: list[str] = []
    with os.scandir(folder / prefix) as entries:
        for entry in entries:
            name = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_symlink():
                raise SubmissionError(
                    "files", f"{name[:200]!r} is a symbolic link; a submission has none."
                )
            if entry.is_dir(follow_symlinks=False):
                if (not prefix and entry.name != CHECKPOINTS) or name.count("/") >= _DEEPEST:
                    raise SubmissionError(
                        "files", f"{name[:200]!r} does not belong into a submission."
                    )
                found += _listed(folder, name)
            elif not entry.is_file(follow_symlinks=False):
                raise SubmissionError("files", f"{name[:200]!r} is no regular file.")
            elif name not in MOST_BYTES and not _CHECKPOINT.fullmatch(name):
                raise SubmissionError(
                    "files",
                    f"{name[:200]!r} does not belong into a submission; it holds {', '.join(MOST_BYTES)} and "
                    "checkpoints/TASK/seedN/... of .safetensors, .json and .npz.",
                )
            else:
                found.append(name)
            if len(found) > _MOST_FILES:
                raise SubmissionError("files", f"There are more than {_MOST_FILES} files.")
    return found


def _read_bounded(folder: Path, name: str, most: int) -> bytes:
    """Reads a regular file once; what it is and how large is asked of the open file, so that it can not be swapped."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = (
            f"{folder} lacks {name}"
            if isinstance(error, FileNotFoundError)
            else f"{name} can not be opened"
        )
        raise SubmissionError("files", f"{why}: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SubmissionError("files", f"{name} is no regular file.")
        content = file.read(most + 1) if found.st_size <= most else None
    if content is None or len(content) > most:
        raise SubmissionError(
            "files", f"{name} is larger than {most} bytes, which is the most that is read of it."
        )
    return content


# -- rows ----------------------------------------------------------------------------------------------------------


def read_rows(content: bytes, num_rows: int) -> pd.DataFrame:
    """Returns the rows of a Parquet file that must hold ``num_rows`` episode records.

    Names stay in dictionaries until their lengths are known, so that a few bytes can not unfold into gigabytes.

    Raises:
        SubmissionError: no such file, other columns, another number of rows, too large, or a value that is missing or not finite.
    """
    try:
        return _rows(content, num_rows)
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        if isinstance(error, SubmissionError):
            raise
        raise SubmissionError(
            "rows", f"{ROWS} can not be read: {' '.join(str(error)[:300].split())}"
        ) from None


def _rows(content: bytes, num_rows: int) -> pd.DataFrame:
    names = [item.name for item in SCHEMA if item.type == pa.string()]
    file = parquet.ParquetFile(
        pa.BufferReader(content),
        read_dictionary=names,
        pre_buffer=False,
        thrift_string_size_limit=1 << 20,
        thrift_container_size_limit=1 << 16,
        schema_depth_limit=4,
        arrow_extensions_enabled=False,
    )
    _check_metadata(file.metadata, num_rows)
    _check_columns(file.schema_arrow)
    table = file.read(use_threads=False).combine_chunks()
    table.validate(full=True)
    if table.num_rows != num_rows:
        raise SubmissionError(
            "rows", f"{ROWS} holds {table.num_rows} rows, its metadata says {num_rows}."
        )
    for name in table.column_names:
        _check_column(name, table[name])
    plain = table.select(SCHEMA.names).cast(SCHEMA)
    return plain.to_pandas()


def _check_metadata(found: parquet.FileMetaData, num_rows: int) -> None:
    if found.num_rows != num_rows:
        raise SubmissionError(
            "rows", f"{ROWS} has {found.num_rows} rows, the suite asks for {num_rows}."
        )
    if found.num_columns != len(SCHEMA.names):
        raise SubmissionError(
            "rows",
            f"{ROWS} has {found.num_columns} columns, an episode record {len(SCHEMA.names)}.",
        )
    if found.num_row_groups > _MOST_GROUPS:
        raise SubmissionError(
            "rows", f"{ROWS} has {found.num_row_groups} row groups, {_MOST_GROUPS} are the most."
        )
    for column in range(found.num_columns):
        leaf = found.schema.column(column)
        if leaf.max_repetition_level or "." in leaf.path:
            raise SubmissionError("rows", f"{ROWS}: column {leaf.path[:100]!r} is nested.")
        groups = [found.row_group(group).column(column) for group in range(found.num_row_groups)]
        size = sum(max(0, group.total_uncompressed_size) for group in groups)
        if size > _BYTES_A_ROW * num_rows or any(
            group.total_uncompressed_size < 0 for group in groups
        ):
            raise SubmissionError(
                "rows",
                f"{ROWS}: column {leaf.path[:100]!r} is {size} bytes large, too much for {num_rows} rows.",
            )


def _check_columns(schema: pa.Schema) -> None:
    found = {item.name: _plain_type(item.type) for item in schema}
    wanted = {item.name: item.type for item in SCHEMA}
    if len(found) != len(schema.names):
        raise SubmissionError("rows", f"{ROWS} has a column twice.")
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise SubmissionError(
                "rows",
                f"{ROWS}: column {name[:100]!r} is {found.get(name, 'missing')}, must be {wanted.get(name, 'absent')}.",
            )


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.string() if pa.types.is_large_string(kind) else kind


def _check_column(name: str, column: pa.ChunkedArray) -> None:
    if column.null_count:
        raise SubmissionError("rows", f"{ROWS}: column {name!r} lacks {column.null_count} values.")
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type):
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
            if longest > _MOST_TEXT:
                raise SubmissionError(
                    "rows",
                    f"{ROWS}: column {name!r} has a text of {longest} bytes; {_MOST_TEXT} are the most.",
                )
        elif pa.types.is_floating(chunk.type) and not pc.all(pc.is_finite(chunk)).as_py():  # pyright: ignore[reportAttributeAccessIssue]
            raise SubmissionError("rows", f"{ROWS}: column {name!r} holds NaN or infinity.")
