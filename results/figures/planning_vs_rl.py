"""The table behind the headline figure: success of planners and of RL per number of transitions.

``results/tables/planning-vs-rl.csv`` has one row per task, stratum, method, training seed and
budget. ``results/tables/README.md`` describes its columns. Success rates of training seeds are
combined with the intervals of ``jepabench.evaluation.statistics``.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.errors import unknown_name
from jepabench.evaluation.statistics.intervals import Interval, mean_over_cells

TABLE = Path(__file__).resolve().parents[1] / "tables" / "planning-vs-rl.csv"
FAMILIES = ("planner", "rl", "floor", "ceiling")
COLUMNS = (
    "task",
    "stratum",
    "method",
    "family",
    "seed",
    "transitions",
    "training_seconds",
    "held",
    "episodes",
)
_KEYS = ["task", "stratum", "method", "seed", "transitions"]

Axis = Literal["transitions", "training_seconds"]


class HeadlineTableError(ValueError):
    """A table of planning against RL that breaks its schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One method on one task at one budget, over all strata of the task and all training seeds.

    Attributes:
        method, family: See ``COLUMNS``.
        transitions: Environment transitions.
        training_seconds: Mean over the training seeds [s]; NaN if it is not stated.
        held: Success rate in [0, 1] with its 95 % interval. Strata count equally.
        seeds: Number of training seeds.
    """

    method: str
    family: str
    transitions: float
    training_seconds: float
    held: Interval
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The points of one task.

    Attributes:
        task: Id of the task.
        strata: The strata over which every point is averaged.
        points: In the order of the table.
        incomplete: Methods and budgets that lack a stratum, and are therefore not shown.
    """

    task: str
    strata: tuple[str, ...]
    points: tuple[Point, ...]
    incomplete: tuple[str, ...] = ()

    def methods(self, *families: str) -> list[str]:
        """Return the methods of some families, in the order of the table."""
        return list(dict.fromkeys(one.method for one in self.points if one.family in families))

    def curve(self, method: str) -> list[Point]:
        """Return the points of a method by increasing number of transitions."""
        points = [point for point in self.points if point.method == method]
        return sorted(points, key=lambda point: point.transitions)


def read_table(path: Path = TABLE) -> pd.DataFrame:
    """Read and check the table.

    Raises:
        FileNotFoundError: The table does not exist.
        HeadlineTableError: A missing column, a value outside its range, an unknown family, or a
            row that is duplicated. The message names the line of the file.
    """
    return parse_table(path.read_text(encoding="utf-8"), path.name)


def parse_table(text: str, name: str) -> pd.DataFrame:
    """Check the text of a table and return its rows.

    Args:
        text: CSV with a header.
        name: Name of the file, for messages.

    Raises:
        HeadlineTableError: See ``read_table``.
    """
    try:
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
    except pd.errors.EmptyDataError as error:
        raise HeadlineTableError(f"{name} is empty.") from error
    if missing := [column for column in COLUMNS if column not in table.columns]:
        raise HeadlineTableError(f"{name} lacks the columns {', '.join(missing)}.")
    table = table.loc[:, list(COLUMNS)]
    for column in ("seed", "transitions", "training_seconds", "held", "episodes"):
        table[column] = [
            _number(value, column, f"{name}, line {line}")
            for line, value in enumerate(table[column], start=2)
        ]
    for line, row in enumerate(table.to_dict("records"), start=2):
        _check_row({str(key): value for key, value in row.items()}, f"{name}, line {line}")
    if table.duplicated(_KEYS).any():
        line = 2 + int(np.flatnonzero(table.duplicated(_KEYS))[0])
        raise HeadlineTableError(
            f"{name}, line {line} repeats an earlier row: the same {', '.join(_KEYS)}."
        )
    families = table.groupby("method", sort=False)["family"].nunique()
    if (families > 1).any():
        method = families.index[int(np.argmax(families.to_numpy() > 1))]
        raise HeadlineTableError(f"{name}: the method {method} has two families. Choose one.")
    return table


def make_panels(table: pd.DataFrame) -> list[Panel]:
    """Return one panel per task in which at least two planners or RL methods can be compared."""
    panels = [_panel(str(task), rows) for task, rows in table.groupby("task", sort=False)]
    return [panel for panel in panels if len(panel.methods("planner", "rl")) > 1]


def read_panels(path: Path = TABLE) -> list[Panel]:
    """Return the panels of a table; an empty list if the table does not exist."""
    return make_panels(read_table(path)) if path.is_file() else []


def count_outcomes(held: float, episodes: int) -> NDArray[np.float64]:
    """Return outcomes [E] with the given success rate, successes first.

    The table has no single episodes. With the successes first, all seeds of a method succeed in the
    same episodes as far as their rates allow, which gives the widest interval.
    """
    return (np.arange(episodes) < round(held * episodes)).astype(np.float64)


def _panel(task: str, rows: pd.DataFrame) -> Panel:
    strata = tuple(dict.fromkeys(map(str, rows["stratum"])))
    points, incomplete = [], []
    for (method, transitions), group in rows.groupby(["method", "transitions"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]  (pandas: a tuple for a list of keys)
        cells = {str(name): cell for name, cell in group.groupby("stratum", sort=False)}
        seeds = set.intersection(*(set(cell["seed"]) for cell in cells.values()))
        if len(cells) < len(strata) or not seeds:
            incomplete.append(f"{method} at {transitions:,.0f} transitions")
            continue
        points.append(_point(group.loc[group["seed"].isin(sorted(seeds))], strata, len(seeds)))
    return Panel(task=task, strata=strata, points=tuple(points), incomplete=tuple(incomplete))


def _point(rows: pd.DataFrame, strata: Sequence[str], seeds: int) -> Point:
    cells = []
    for stratum in strata:
        own = rows.loc[rows["stratum"].to_numpy() == stratum, ["held", "episodes"]].to_numpy(float)
        cells.append(np.stack([count_outcomes(held, int(own[:, 1].min())) for held in own[:, 0]]))
    first = rows.to_dict("records")[0]
    seconds = rows["training_seconds"].to_numpy(np.float64)
    return Point(
        method=str(first["method"]),
        family=str(first["family"]),
        transitions=float(first["transitions"]),
        training_seconds=math.nan if np.isnan(seconds).any() else float(seconds.mean()),
        held=mean_over_cells([cells]),
        seeds=seeds,
    )


def _number(text: str, name: str, where: str) -> float:
    if name == "training_seconds" and not text.strip():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise HeadlineTableError(
            f"{where}: {name} must be a number of at least 0, got {text!r}."
            + (" Leave it empty if it is unknown." if name == "training_seconds" else "")
        )
    return value


def _check_row(row: Mapping[str, float | str], where: str) -> None:
    for name in ("task", "stratum", "method"):
        if not str(row[name]).strip():
            raise HeadlineTableError(f"{where}: {name} is empty.")
    if row["family"] not in FAMILIES:
        raise HeadlineTableError(f"{where}: {unknown_name('family', str(row['family']), FAMILIES)}")
    held, episodes = float(row["held"]), float(row["episodes"])
    if held > 1:
        raise HeadlineTableError(f"{where}: held must be a rate from 0 to 1, got {held:g}.")
    if episodes < 2 or episodes != round(episodes):
        raise HeadlineTableError(
            f"{where}: episodes must be a whole number of at least 2, got {episodes:g}."
        )
    if abs(held * episodes - round(held * episodes)) > 0.01:
        raise HeadlineTableError(
            f"{where}: held is {held:g}, which is no number of successes in {episodes:g} episodes."
        )
    if float(row["seed"]) != round(float(row["seed"])):
        raise HeadlineTableError(f"{where}: seed must be a whole number, got {row['seed']}.")
    if row["family"] in ("planner", "rl") and not row["transitions"]:
        raise HeadlineTableError(
            f"{where}: a {row['family']} row needs its number of transitions, got 0."
        )
