"""The rows of a submission, read so that a few bytes cannot unpack into gigabytes."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from jepabench.evaluation.records import SCHEMA
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import ROWS

_MAX_TEXT = 200  # characters of a name in a row
_BYTES_PER_ROW = 4096  # uncompressed, of one column; a dictionary of names included
_MAX_FOOTER = 1 << 18  # bytes of a file besides its rows
_MAX_GROUPS = 1000
_UNREADABLE = (
    pa.ArrowException,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    MemoryError,
    OverflowError,
)


def read_rows(content: bytes, num_rows: int) -> pd.DataFrame:
    """Return the rows of a Parquet file that must hold ``num_rows`` episode records.

    Raises:
        SubmissionError: Not a Parquet file, other columns, another number of rows, too large, or a
            value that is missing or not finite.
    """
    try:
        return _rows(content, num_rows)
    except _UNREADABLE as error:
        if isinstance(error, SubmissionError):
            raise
        raise SubmissionError(
            "rows", f"{ROWS} cannot be read: {' '.join(str(error)[:300].split())}"
        ) from None


def _rows(content: bytes, num_rows: int) -> pd.DataFrame:
    if len(content) > _BYTES_PER_ROW * num_rows + _MAX_FOOTER:
        raise SubmissionError(
            "rows", f"{ROWS} has {len(content)} bytes, too many for {num_rows} rows."
        )
    limits = {
        "pre_buffer": False,
        "thrift_string_size_limit": 1 << 20,
        "thrift_container_size_limit": 1 << 16,
        "schema_depth_limit": 4,
        "arrow_extensions_enabled": False,
    }
    file = parquet.ParquetFile(pa.BufferReader(content), **limits)
    _check_metadata(file.metadata, num_rows)
    _check_columns(file.schema_arrow)
    # Names stay in dictionaries until their lengths are known. The columns exist: they were
    # checked.
    names = [item.name for item in SCHEMA if item.type == pa.string()]
    file = parquet.ParquetFile(pa.BufferReader(content), read_dictionary=names, **limits)
    table = file.read(use_threads=False).combine_chunks()
    table.validate(full=True)
    if table.num_rows != num_rows:
        raise SubmissionError(
            "rows", f"{ROWS} holds {table.num_rows} rows, its metadata says {num_rows}."
        )
    for name in table.column_names:
        _check_column(name, table[name])
    return table.select(SCHEMA.names).cast(SCHEMA).to_pandas()


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
    if found.num_row_groups > _MAX_GROUPS:
        raise SubmissionError(
            "rows", f"{ROWS} has {found.num_row_groups} row groups, {_MAX_GROUPS} is the limit."
        )
    for column in range(found.num_columns):
        leaf = found.schema.column(column)
        if leaf.max_repetition_level or "." in leaf.path:
            raise SubmissionError("rows", f"{ROWS}: column {leaf.path[:100]!r} is nested.")
        groups = [found.row_group(group).column(column) for group in range(found.num_row_groups)]
        size = sum(max(0, group.total_uncompressed_size) for group in groups)
        if size > _BYTES_PER_ROW * num_rows or any(
            group.total_uncompressed_size < 0 for group in groups
        ):
            raise SubmissionError(
                "rows",
                f"{ROWS}: column {leaf.path[:100]!r} is {size} bytes large, too much for "
                f"{num_rows} rows.",
            )


def _check_columns(schema: pa.Schema) -> None:
    found = {item.name: _plain_type(item.type) for item in schema}
    wanted = {item.name: item.type for item in SCHEMA}
    if len(found) != len(schema.names):
        raise SubmissionError("rows", f"{ROWS} has a duplicate column.")
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise SubmissionError(
                "rows",
                f"{ROWS}: column {name[:100]!r} is {found.get(name, 'missing')}, must be "
                f"{wanted.get(name, 'absent')}.",
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
            if longest > _MAX_TEXT:
                raise SubmissionError(
                    "rows",
                    f"{ROWS}: column {name!r} has a text of {longest} bytes; {_MAX_TEXT} is the "
                    "limit.",
                )
        elif pa.types.is_floating(chunk.type) and not pc.all(pc.is_finite(chunk)).as_py():  # pyright: ignore[reportAttributeAccessIssue]
            raise SubmissionError("rows", f"{ROWS}: column {name!r} holds NaN or infinity.")
