"""Read and write the success table, find missing cells and show it in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from rich.table import Table
from rich.text import Text

from jepabench.envs.data.files import write_atomically
from jepabench.envs.task import short_name
from jepabench.evaluation.references import Kind, classify_agent

COLUMNS = (
    "task",
    "stratum",
    "agent",
    "episodes",
    "seeds",
    "success_held",
    "success_ever",
    "success_final",
    "held_low",
    "held_high",
    "ms_per_step",
    "model_steps",
    "transitions",
    "train_seconds",
)
_KEYS = ("task", "stratum", "agent")
_KINDS = get_args(Kind)

Status = Literal["done", "failed", "missing"]


class TableError(ValueError):
    """Raised for a table that is not a success table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The results of one agent on one task and stratum. Unknown numbers are NaN, never 0.

    Attributes:
        task, stratum, agent: The key of the cell.
        status: ``done``; ``failed`` if the row has no success rate; ``missing`` if there is none.
        kind: Whether the agent is a floor, a ceiling or an agent under test, by its track.
        others: See ``evaluation.statistics.success_tables.score_table`` and ``cost.json``.
    """

    task: str
    stratum: str
    agent: str
    status: Status
    kind: Kind = "learned"
    episodes: float = math.nan
    seeds: float = math.nan
    success_held: float = math.nan
    success_ever: float = math.nan
    success_final: float = math.nan
    held_low: float = math.nan
    held_high: float = math.nan
    normalised: float = math.nan
    tied_with_best: float = math.nan
    ms_per_step: float = math.nan
    model_steps: float = math.nan
    violation_rate: float = math.nan
    transitions: float = math.nan
    train_seconds: float = math.nan
    parameters: float = math.nan

    @property
    def is_done(self) -> bool:
        """Whether the cell has a success rate."""
        return self.status == "done"


def agent_kind(agent: str, kinds: Mapping[str, Kind] | None = None) -> Kind:
    """Return the kind of an agent.

    Args:
        agent: Name of the agent.
        kinds: Kinds that are known from tracks, by agent (``agent_kinds``). An agent that is not
            among them is a floor or a ceiling only if its name is reserved.
    """
    known = (kinds or {}).get(agent)
    return known or classify_agent(agent)


def agent_kinds(cells: Iterable[Cell]) -> dict[str, Kind]:
    """Return the kind of each agent of some cells."""
    return {cell.agent: cell.kind for cell in cells}


def agent_order(agents: Iterable[str], kinds: Mapping[str, Kind] | None = None) -> list[str]:
    """Return the distinct agents in the given order, but ceilings first and floors last."""
    rank = {"ceiling": 0, "learned": 1, "floor": 2}
    return sorted(dict.fromkeys(agents), key=lambda agent: rank[agent_kind(agent, kinds)])


def read_cells(
    table: pd.DataFrame,
    *,
    strata: Mapping[str, Sequence[str]] | None = None,
    agents: Sequence[str] = (),
) -> list[Cell]:
    """Return one cell per task, stratum and agent, including those that the table lacks.

    Args:
        table: Rows with ``COLUMNS``; other fields of ``Cell`` are optional.
        strata: The expected strata of each task; tasks and strata of the table are added.
        agents: The expected agents; those of the table are added.

    Raises:
        TableError: Columns are missing or a cell is duplicated.
    """
    absent = [name for name in COLUMNS if name not in table.columns]
    if absent:
        raise TableError(
            f"A success table has the columns {', '.join(COLUMNS)}; {', '.join(absent)} missing."
        )
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in table.to_dict("records"):
        key = (str(row["task"]), str(row["stratum"]), str(row["agent"]))
        if key in rows:
            raise TableError(
                f"A success table has one row per task, stratum and agent; "
                f"{' | '.join(key)} is duplicated."
            )
        rows[key] = {str(name): value for name, value in row.items()}
    expected = {task: dict.fromkeys(names) for task, names in (strata or {}).items()}
    for task, stratum, _ in rows:
        expected.setdefault(task, {}).setdefault(stratum)
    kinds = {key[2]: row["kind"] for key, row in rows.items() if row.get("kind") in _KINDS}
    everyone = agent_order([*agents, *(agent for _, _, agent in rows)], kinds)
    return [
        _cell((task, stratum, agent), rows.get((task, stratum, agent)), agent_kind(agent, kinds))
        for task, names in expected.items()
        for stratum in names
        for agent in everyone
    ]


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV: ``COLUMNS`` first, six significant digits, unknown values empty."""
    columns = [name for name in COLUMNS if name in table.columns]
    columns += [name for name in table.columns if name not in columns]
    text = table.reindex(columns=columns).to_csv(
        index=False, float_format="%.6g", lineterminator="\n"
    )
    return write_atomically(path, text.encode())


def read_table(path: Path) -> pd.DataFrame:
    """Read a table written by ``write_table``.

    Raises:
        FileNotFoundError: The suite has no scores yet.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"No table at {path}. Evaluate the suite first; that writes the table."
        )
    # Names stay strings, even "none" or "1".
    return pd.read_csv(
        path, dtype=dict.fromkeys(_KEYS, "str"), keep_default_na=False, na_values=[""]
    )


def terminal_table(table: pd.DataFrame) -> Table:
    """Return the table for a terminal of 80 columns, grouped by task and stratum.

    Floors and ceilings are dim.
    """
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("agent", no_wrap=True)
    for name in ("held", "95 %", "ever", "ms/step", "data", "training"):
        shown.add_column(name, justify="right", no_wrap=True)
    before = ""
    for cell in read_cells(table):
        place = f"{short_name(cell.task)}, {cell.stratum}"
        if place != before:
            shown.add_row()
            shown.add_row(Text(place, style="bold"))
        # Text, not markup, because the name of an agent may contain brackets.
        values = [Text(value) for value in (f"  {cell.agent}", *_numbers(cell))]
        shown.add_row(*values, style=None if cell.kind == "learned" else "dim")
        before = place
    return shown


def percent(rate: float) -> str:
    """Return a rate as a percentage without the sign, or a dash if it is unknown."""
    return f"{100 * rate:.0f}" if math.isfinite(rate) else "-"


def count(number: float) -> str:
    """Return a count in three digits (``950``, ``12.5k``, ``1.2M``), or a dash if 0 or unknown."""
    if not math.isfinite(number) or number <= 0:
        return "-"
    for divisor, unit in ((1, ""), (1e3, "k"), (1e6, "M")):
        # Round first, so that 999,600 becomes 1M, not 1000k.
        if float(f"{number:.3g}") < 1000 * divisor:
            return f"{float(f'{number / divisor:.3g}'):g}{unit}"
    return f"{number / 1e9:.3g}G"


def milliseconds(value: float) -> str:
    """Return milliseconds in about two digits, or a dash if they are unknown."""
    if not math.isfinite(value):
        return "-"
    return "<0.1" if value < 0.095 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, or a dash if it is 0 or unknown."""
    if not math.isfinite(seconds) or seconds <= 0:
        return "-"
    for limit, divisor, unit in ((99.5, 1, "s"), (99.5 * 60, 60, "min")):
        if seconds < limit:
            return f"{seconds / divisor:.2g} {unit}"
    return f"{seconds / 3600:.3g} h"


def _cell(key: tuple[str, str, str], row: Mapping[str, Any] | None, kind: Kind) -> Cell:
    task, stratum, agent = key
    if row is None:
        return Cell(task=task, stratum=stratum, agent=agent, status="missing", kind=kind)
    numbers = {item.name: float(row[item.name]) for item in fields(Cell)[5:] if item.name in row}
    status = "done" if math.isfinite(numbers["success_held"]) else "failed"
    return Cell(task=task, stratum=stratum, agent=agent, status=status, kind=kind, **numbers)


def _numbers(cell: Cell) -> list[str]:
    if not cell.is_done:
        return [cell.status]
    return [
        f"{percent(cell.success_held)} %",
        f"{percent(cell.held_low)} to {percent(cell.held_high)}",
        f"{percent(cell.success_ever)} %",
        milliseconds(cell.ms_per_step),
        count(cell.transitions),
        duration(cell.train_seconds),
    ]
