"""Result rows, one per episode. Aggregates are always computed from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from jepabench.envs.data.files import atomic_write


class RecordError(ValueError):
    """Invalid records; the message names them and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an episode went, according to the success rules of its world.

    Attributes:
        success_ever, success_final, success_held: Section 2 of the protocol; ``success_held`` is
            the headline.
        joint_ever: The published joint rule at any step, for comparison with papers; equals
            ``success_ever`` where the world has no such rule.
        strict_held: The strict rule, held; equals ``success_held`` where the world has none.
        distance_start, distance_final, distance_min: To the goal, task units.
        steps: Control steps taken (the whole budget).
        reference_steps: Control steps of a good solution.
        first_success_step: Control step of the first success, counted from 1; -1 if never.
        violations: Control steps in which a keep-out rule was broken.
        return_: Sum of sparse rewards.
    """

    success_ever: bool
    success_final: bool
    success_held: bool
    joint_ever: bool
    strict_held: bool
    distance_start: float
    distance_final: float
    distance_min: float
    steps: int
    reference_steps: int
    first_success_step: int
    violations: int
    return_: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord(Outcome):
    """One episode of one agent: its outcome and what it cost.

    Attributes:
        agent: Name of the agent's configuration.
        training_seed: Seed that the agent was trained with (0 for agents without training).
        task_id, split, stratum, index: The episode's spec.
        planning_seconds: Time spent in ``act`` over the episode [s].
        planning_ms_median, planning_ms_p95: Over the episode's control steps [ms].
        model_steps: World-model or simulator steps spent in the episode.
    """

    agent: str
    training_seed: int
    task_id: str
    split: str
    stratum: str
    index: int
    planning_seconds: float
    planning_ms_median: float
    planning_ms_p95: float
    model_steps: int


KEY = ("agent", "training_seed", "task_id", "split", "stratum", "index")  # unique for each row
_COSTS = ("planning_seconds", "planning_ms_median", "planning_ms_p95", "model_steps")
_OUTCOMES = [item.name for item in fields(Outcome) if item.name != "return_"]
COLUMNS = (*KEY, *_OUTCOMES, *_COSTS, "return_")  # the order of the columns in files
_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
_KINDS = {
    "str": (str,),
    "int": (int, np.integer),
    "float": (float, int, np.floating),
    "bool": (bool, np.bool_),
}
_TYPE_NAMES = {item.name: str(item.type) for item in fields(EpisodeRecord)}
SCHEMA = pa.schema([pa.field(name, _TYPES[_TYPE_NAMES[name]], nullable=False) for name in COLUMNS])


def records_frame(records: Iterable[EpisodeRecord]) -> pd.DataFrame:
    """Return records as a table, one row per episode, in the given order.

    Raises:
        RecordError: A value of another type than its column's.
    """
    return _table(records).to_pandas()


def frame_records(frame: pd.DataFrame) -> tuple[EpisodeRecord, ...]:
    """Return the rows of a table as records; the inverse of ``records_frame``."""
    return tuple(
        EpisodeRecord(**{str(key): value for key, value in row.items()})
        for row in frame.to_dict("records")
    )


def write_records(path: Path, records: Iterable[EpisodeRecord]) -> None:
    """Write records to a Parquet file atomically.

    Raises:
        RecordError: No records, a repeated episode, or a value of the wrong type.
    """
    table = _table(records)
    _check_rows(table.to_pandas(), str(path))
    with atomic_write(path) as partial:
        parquet.write_table(table, partial)


def read_records(path: Path) -> pd.DataFrame:
    """Read what ``write_records`` wrote: one row per episode, the columns of ``EpisodeRecord``.

    Raises:
        RecordError: A missing or invalid file, other columns, missing values, or repeated
            episodes.
    """
    try:
        table = parquet.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise RecordError(f"Cannot read records from {path}: {error}") from error
    _check_schema(table.schema, path)
    frame = table.select(SCHEMA.names).to_pandas()
    _check_rows(frame, str(path))
    return frame


def _table(records: Iterable[EpisodeRecord]) -> pa.Table:
    rows = [asdict(record) for record in records]
    for name in COLUMNS:
        kinds = _KINDS[_TYPE_NAMES[name]]
        for row in rows:
            value = row[name]
            # Arrow would cut 1.5 to 1; and True is an int to Python.
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise RecordError(
                    f"A record's {name} must be of type {_TYPE_NAMES[name]}, "
                    f"got {value!r} in {row}."
                )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _check_schema(schema: pa.Schema, path: Path) -> None:
    missing = [name for name in SCHEMA.names if name not in schema.names]
    unknown = [name for name in schema.names if name not in SCHEMA.names]
    if missing or unknown:
        raise RecordError(
            f"{path} does not contain episode records: missing columns {missing or 'none'}, "
            f"unknown columns {unknown or 'none'}."
        )
    for item in SCHEMA:
        found = schema.field(item.name).type
        # pandas writes large strings, which are equivalent.
        if found != item.type and not (
            pa.types.is_large_string(found) and pa.types.is_string(item.type)
        ):
            raise RecordError(f"{path}: column {item.name!r} is {found}, must be {item.type}.")


def _check_rows(frame: pd.DataFrame, source: str) -> None:
    if frame.empty:
        raise RecordError(f"{source}: there are no records.")
    for name, count in frame.isna().sum().items():
        if count:
            raise RecordError(
                f"{source}: column {name!r} lacks {count} values or holds NaN; none may be missing."
            )
    repeated = frame[frame.duplicated(list(KEY))]
    if len(repeated):
        first = "|".join(str(value) for value in repeated.iloc[0][list(KEY)])
        raise RecordError(
            f"{source}: {len(repeated)} episodes are duplicated; the first is {first}."
        )
