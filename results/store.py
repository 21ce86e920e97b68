"""Read all results below an output folder as two tables: episodes and runs.

The files of the runs are the source. A copy of their rows in one Parquet file makes it fast to read
thousands of runs. The copy is updated when a run changes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet
from pyarrow.dataset import Dataset, InMemoryDataset, dataset

from jepabench.envs.data.files import atomic_write
from jepabench.evaluation.records import SCHEMA, RecordError, read_records
from jepabench.evaluation.stages.stage import read_stage

_log = logging.getLogger(__name__)
_PLACE = pa.schema([pa.field("suite", pa.string()), pa.field("directory", pa.string())])
_SCHEMA = pa.schema([*_PLACE, *SCHEMA])
_FILES = b"jepabench.files"
RUN_COLUMNS = (
    "kind",
    "state",
    "suite",
    "task",
    "agent",
    "seed",
    "seconds",
    "finished",
    "host",
    "detail",
    "directory",
    "config",
)


def load_episodes(output: Path) -> Dataset:
    """Return a dataset with one row per episode of each finished evaluation.

    The columns are ``suite``, ``directory`` (relative to ``output``) and the fields of
    ``EpisodeRecord``. Unfinished evaluations are omitted. Damaged ones are omitted with a warning.
    The rows are cached in a file. If it cannot be written, the dataset is in memory.

    Raises:
        RecordError: There is no finished evaluation below ``output``.
    """
    found = dict(_evaluations(output))
    if not found:
        raise RecordError(
            f"There is no finished evaluation below {output}. "
            "Run a small suite with `jepabench run suite=quick`."
        )
    path = output / "store" / "episodes.parquet"
    known = _known(path)
    if known == found:
        return dataset(path, format="parquet")
    kept = [name for name, stamp in found.items() if known.get(name) == stamp]
    tables = [_read_rows(path, kept)] if kept else []
    for name in found.keys() - set(kept):
        try:
            tables.append(_read(output, name))
        except RecordError as error:
            _log.warning(
                "Skipped %s: %s. Run `jepabench run` or `sweep` again to replace it.", name, error
            )
    table = pa.concat_tables(tables).sort_by(
        [(name, "ascending") for name in ("directory", "stratum", "index")]
    )
    table = table.replace_schema_metadata({_FILES: json.dumps(found).encode()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            parquet.write_table(table, partial)
    except OSError as error:
        _log.info("Cannot cache the episodes in %s: %s", path, error)
        return InMemoryDataset(table)
    return dataset(path, format="parquet")


def load_results(output: str | Path = "outputs") -> pd.DataFrame:
    """Return the rows of ``load_episodes``: one per episode of each finished evaluation."""
    return load_episodes(Path(output)).to_table().to_pandas()


def run_table(output: Path) -> pd.DataFrame:
    """Return one row per started stage below ``output``, with ``RUN_COLUMNS``.

    ``kind`` is data, model, policy or evaluation. ``state`` is ``StageState.name``. ``config`` is
    JSON.
    """
    rows = [
        _run(output, path.parent)
        for path in sorted(output.rglob("stage.json"))
        if ".partial" not in path.parts
    ]
    return pd.DataFrame([row for row in rows if row], columns=pd.Index(RUN_COLUMNS))


def _evaluations(output: Path) -> Iterator[tuple[str, list[int]]]:
    for path in sorted(output.glob("*/evaluations/*/*/*/episodes.parquet")):
        if (path.parent / "done.json").exists():
            found = path.stat()
            yield path.parent.relative_to(output).as_posix(), [found.st_mtime_ns, found.st_size]


def _known(path: Path) -> dict[str, list[int]]:
    """Return the evaluations in the copy; empty if the copy is missing or cannot be read."""
    try:
        schema = parquet.read_schema(path)
    except (OSError, pa.ArrowException):
        return {}
    if schema.names != _SCHEMA.names or not schema.metadata or _FILES not in schema.metadata:
        return {}
    return json.loads(schema.metadata[_FILES])


def _read_rows(path: Path, names: list[str]) -> pa.Table:
    table = parquet.ParquetFile(path).read().replace_schema_metadata(None)
    return table.filter(pc.is_in(table["directory"], pa.array(names)))  # pyright: ignore[reportAttributeAccessIssue]


def _read(output: Path, name: str) -> pa.Table:
    frame = read_records(output / name / "episodes.parquet")
    frame.insert(0, "suite", name.partition("/")[0])
    frame.insert(1, "directory", name)
    return pa.Table.from_pandas(frame, schema=_SCHEMA, preserve_index=False)


def _run(output: Path, directory: Path) -> dict[str, Any] | None:
    read = read_stage(directory)
    if read is None:
        return None
    config, state, done = read
    parts = directory.relative_to(output).parts
    suite = parts[0] if "evaluations" in parts else ""
    kind = (
        "evaluation" if suite else {"models": "model", "policies": "policy"}.get(parts[0], parts[0])
    )
    return {
        "kind": kind,
        "state": state.name,
        "suite": suite,
        "task": _task(config),
        "agent": _agent(config, directory),
        "seed": config.get("seed"),
        "seconds": state.seconds,
        "finished": done.get("finished"),
        "host": done.get("host"),
        "detail": state.detail,
        "directory": "/".join(parts),
        "config": json.dumps(config),
    }


def _task(config: Mapping[str, Any]) -> str | None:
    return config.get("task_id") or config.get("data", {}).get("task_id")


def _agent(config: Mapping[str, Any], directory: Path) -> str | None:
    agent = config.get("agent")
    if isinstance(agent, Mapping):
        return agent.get("name")
    return None if "seed" not in config else directory.name.partition("-seed")[0]
