"""The tasks of `core` beside each other, from the suites that measure one of them each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jepabench.envs.task import short_name
from jepabench.evaluation.references import Kind
from jepabench.evaluation.statistics.intervals import Interval
from jepabench.evaluation.verification.levels import BADGES
from jepabench.results.board.entries import Entry, overall_rates

CORE = "core"
_ORDER: tuple[Kind, ...] = ("ceiling", "learned", "floor")
_Cells = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CoreCell:
    """Success of an agent on one task of `core`.

    Attributes:
        entry: The submission.
        rate: Share of goals held over all strata, from 0 to 1, with its 95 % interval.
        seeds: Number of training seeds.
    """

    entry: Entry
    rate: Interval
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

    A submission counts if it was replayed and its tasks have the strata and the number of episodes
    of `core`. Submissions with the same label and authors share a row. Of several for one task, the
    one with the highest badge is shown, then the latest.

    Args:
        entries: Submissions that can be compared.
        suites: By name, with ``tasks`` (mappings with ``task_id``, ``strata``, ``num_episodes``).
    """
    wanted = _tasks(suites.get(CORE, {"tasks": []}))
    own = [entry for entry in entries if entry.is_ranked and _is_part(entry, wanted)]
    own.sort(key=lambda entry: (_badge(entry), entry.manifest.created))
    best: dict[tuple[Any, ...], dict[str, Entry]] = {}
    for entry in own:
        agent = (entry.label, entry.kind, tuple(entry.manifest.authors))
        best.setdefault(agent, {}).update({task: entry for task, _ in entry.scores})
    columns = {
        task: _column([shown[task] for shown in best.values() if task in shown], cells)
        for task, (cells, _) in wanted.items()
    }
    rows = [
        CoreRow(
            label,
            kind,
            [columns[task][shown[task].name] if task in shown else None for task in wanted],
        )
        for (label, kind, _), shown in best.items()
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


def _column(entries: Sequence[Entry], cells: _Cells) -> dict[str, CoreCell]:
    """Return the cells of a task by submission. Their intervals are computed together."""
    rates = overall_rates(entries, cells)
    return {
        entry.name: CoreCell(
            entry, rates[entry.name], seeds=entry.scores[cells[0]].outcomes.shape[0]
        )
        for entry in entries
    }


def _badge(entry: Entry) -> int:
    return max(BADGES.index(badge) for badge in entry.badges)


def _mean(row: CoreRow) -> float:
    held = [cell.rate.estimate for cell in row.cells if cell is not None]
    return sum(held) / len(held)
