"""The tasks of `core` beside each other, from the suites that measure one of them each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jepabench.envs.task import short_name
from jepabench.evaluation.verification.levels import BADGES
from jepabench.results.board.entries import Entry, Kind, overall
from jepabench.results.report.success_table import percent

CORE = "core"
_ORDER: tuple[Kind, ...] = ("ceiling", "learned", "floor")
_Cells = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CoreCell:
    """Success of an agent on one task of `core`.

    Attributes:
        entry: The submission.
        held: Share of goals held over all strata, in percent.
        ends: Ends of its 95 % interval, in percent.
        seeds: Number of training seeds.
    """

    entry: Entry
    held: str
    ends: str
    seeds: int


@dataclass(frozen=True, slots=True)
class CoreRow:
    """An agent and its cell on each task, None where it was not submitted."""

    label: str
    kind: Kind
    cells: Sequence[CoreCell | None]

    @property
    def missing(self) -> int:
        """Number of tasks without a submission."""
        return sum(cell is None for cell in self.cells)


def core_rows(
    entries: Iterable[Entry], suites: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], list[CoreRow]]:
    """Return the short names of the tasks of `core`, and a row per agent with a submission there.

    A submission counts if its tasks have the strata and the number of episodes of `core`. Of
    several replayed submissions, the one with the highest badge is shown, then the latest.
    Submissions that were not replayed are left out.

    Args:
        entries: Submissions that can be compared.
        suites: By name, with ``tasks`` (mappings with ``task_id``, ``strata``, ``num_episodes``).
    """
    wanted = _tasks(suites.get(CORE, {"tasks": []}))
    own = [entry for entry in entries if entry.is_ranked and _is_part(entry, wanted)]
    own.sort(key=lambda entry: (_badge(entry), entry.manifest.created))
    found: dict[tuple[str, Kind], dict[str, Entry]] = {}
    for entry in own:
        tasks = dict.fromkeys(task for task, _ in entry.scores)
        found.setdefault((entry.label, entry.kind), {}).update(dict.fromkeys(tasks, entry))
    rows = [
        CoreRow(
            label,
            kind,
            [_cell(best.get(task), task, cells) for task, (cells, _) in wanted.items()],
        )
        for (label, kind), best in found.items()
    ]
    rows.sort(key=lambda row: (_ORDER.index(row.kind), row.missing, -_mean(row)))
    return [short_name(task) for task in wanted], rows


def _tasks(suite: Mapping[str, Any]) -> dict[str, tuple[_Cells, int]]:
    """Return the cells of each task of a suite and its number of episodes per stratum."""
    return {
        task["task_id"]: (
            tuple((task["task_id"], stratum) for stratum in task["strata"]),
            task["num_episodes"],
        )
        for task in suite["tasks"]
    }


def _is_part(entry: Entry, wanted: Mapping[str, tuple[_Cells, int]]) -> bool:
    tasks = {task for task, _ in entry.scores}
    if not tasks <= wanted.keys():
        return False
    expected = {key: number for task in tasks for cells, number in [wanted[task]] for key in cells}
    return expected == {key: one.outcomes.shape[1] for key, one in entry.scores.items()}


def _cell(entry: Entry | None, task: str, cells: _Cells) -> CoreCell | None:
    if entry is None:
        return None
    rate = overall(entry, list(cells))
    ends = f"{percent(rate.low)}\N{EN DASH}{percent(rate.high)}"
    return CoreCell(entry, percent(rate.estimate), ends, entry.scores[cells[0]].outcomes.shape[0])


def _badge(entry: Entry) -> int:
    return max(BADGES.index(badge) for badge in entry.badges)


def _mean(row: CoreRow) -> float:
    held = [float(cell.held) for cell in row.cells if cell is not None]
    return sum(held) / len(held)
