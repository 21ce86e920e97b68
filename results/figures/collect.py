"""Rows for the table of planning against RL, collected from finished evaluations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from jepabench.envs.data.files import write_atomically
from jepabench.evaluation.records import read_records
from jepabench.evaluation.references import Track
from jepabench.results.figures.planning_vs_rl import (
    COLUMNS,
    FAMILIES,
    TABLE,
    parse_table,
    read_table,
)


def collect_rows(folders: Iterable[Path], families: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of all finished evaluations below some folders.

    ``transitions`` and ``training_seconds`` are those of ``cost.json``, so they include the data
    and training of a frozen representation.

    Args:
        folders: Outputs of ``jepabench scaling``, ``sweep`` or ``run``.
        families: Family by agent. By default, floors and ceilings follow from the track, an agent
            that uses model steps is a planner, and all others are RL.

    Raises:
        ValueError: No folder has a finished evaluation.
    """
    rows: list[dict[str, Any]] = []
    for folder in folders:
        for done in sorted(folder.rglob("done.json")):
            if (done.parent / "episodes.parquet").is_file():
                rows += _read_evaluation(done.parent, families)
    if not rows:
        raise ValueError(
            f"No finished evaluation below {', '.join(map(str, folders)) or 'no folder'}."
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def add_rows(rows: pd.DataFrame, path: Path = TABLE) -> int:
    """Add rows to the table, replace those with the same key, and return the number of rows.

    Raises:
        HeadlineTableError: The result breaks the schema; the table is then unchanged.
    """
    keys = [*COLUMNS[:3], "seed", "transitions"]
    parts = [read_table(path), rows] if path.is_file() else [rows]
    table = pd.concat(parts, ignore_index=True).drop_duplicates(keys, keep="last")
    order = {family: place for place, family in enumerate(FAMILIES)}
    table = (
        table.assign(place=[order.get(name, 0) for name in table["family"]])
        .sort_values(["task", "place", "method", "transitions", "seed"], kind="stable")
        .astype({"seed": int, "transitions": int, "episodes": int})
    )
    text = table[list(COLUMNS)].to_csv(index=False, float_format="%.8g")
    parse_table(text, path.name)
    write_atomically(path, text)
    return len(table)


def _read_evaluation(folder: Path, families: Mapping[str, str]) -> list[dict[str, Any]]:
    records = read_records(folder / "episodes.parquet")
    cost = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
    stage = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
    track = Track.from_config(stage["config"]["agent"]["track"])
    plans = bool(records["model_steps"].to_numpy().any())
    default = "planner" if plans else "rl"
    rows = []
    for key, group in records.groupby(["task_id", "stratum", "agent", "training_seed"], sort=False):
        task, stratum, agent, seed = key  # pyright: ignore[reportGeneralTypeIssues]  (pandas: a tuple for a list of keys)
        kind = default if track.kind == "learned" else track.kind
        rows.append(
            {
                "task": task,
                "stratum": stratum,
                "method": agent,
                "family": families.get(str(agent), kind),
                "seed": int(seed),
                "transitions": int(cost["transitions"]),
                "training_seconds": float(cost["train_seconds"]),
                "held": float(group["success_held"].to_numpy().mean()),
                "episodes": len(group),
            }
        )
    return rows
