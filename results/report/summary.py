"""What a table says in a sentence: who is ahead, by how much on the same episodes, and between which floor and ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepabench.evaluation.statistics.intervals import Interval, paired_difference
from jepabench.results.media.gallery import Run
from jepabench.results.report.success_table import Cell, agent_kind, percent


@dataclass(frozen=True, slots=True)
class Summary:
    """Sentences about one or more tasks.

    Attributes:
        headline: the best agent under test, and the next one.
        details: the paired difference of the two, and what each may use.
        context: the floors and ceilings that they stand between.
        best: the agent of the headline; empty if none has all its results.
    """

    headline: str
    details: str
    context: str
    best: str


def summarise(
    cells: Sequence[Cell], runs: Sequence[Run], *, place: str, tracks: Mapping[str, str]
) -> Summary:
    """Summarises cells: means of ``success_held`` over their tasks and strata, of agents whose cells are all done.

    Args:
        cells: of one or more tasks, from ``read_cells``.
        runs: the records behind them.
        place: words for the tasks, such as ``on TwoRoom-v1``.
        tracks: what each agent may use, in words.
    """
    means = _means(cells)
    context = _context(means)
    ranked = sorted(
        (agent for agent in means if agent_kind(agent) == "learned"),
        key=lambda agent: -means[agent],
    )
    if not ranked:
        return Summary(f"No agent under test has all its results {place} yet.", "", context, "")
    headline = f"{ranked[0]} reaches and holds {percent(means[ranked[0]])} % of the goals {place}"
    if len(ranked) == 1:
        return Summary(f"{headline}.", _tracks(ranked, tracks), context, ranked[0])
    best, second = ranked[:2]
    gap = _paired(runs, {cell.task for cell in cells}, best, second)
    tied = gap is not None and gap.low <= 0
    place_of_second = "can not be told apart from it" if tied else "follows"
    headline += f"; {second}, at {percent(means[second])} %, {place_of_second}."
    return Summary(
        headline, f"{_difference(gap)} {_tracks([best, second], tracks)}".strip(), context, best
    )


def _means(cells: Sequence[Cell]) -> dict[str, float]:
    agents: dict[str, list[Cell]] = {}
    for cell in cells:
        agents.setdefault(cell.agent, []).append(cell)
    return {
        agent: sum(cell.success_held for cell in own) / len(own)
        for agent, own in agents.items()
        if all(cell.is_done for cell in own)
    }


def _context(means: Mapping[str, float]) -> str:
    parts = []
    for kind in ("floor", "ceiling"):
        named = [
            f"{agent} {percent(rate)} %"
            for agent, rate in means.items()
            if agent_kind(agent) == kind
        ]
        if named:
            parts.append(f"{kind.capitalize()}: {', '.join(named)}.")
    return " ".join(parts)


def _difference(gap: Interval | None) -> str:
    if gap is None:
        return ""
    ends = (gap.estimate, gap.low, gap.high)
    middle, low, high = (f"{100 * end:+.0f}".replace("-", "\N{MINUS SIGN}") for end in ends)
    return f"On the same episodes they differ by {middle} points (95 % interval {low} to {high})."


def _tracks(agents: Sequence[str], tracks: Mapping[str, str]) -> str:
    named = [f"{agent}: {tracks[agent]}." for agent in agents if tracks.get(agent)]
    return " ".join(named)


def _paired(runs: Sequence[Run], tasks: set[str], first: str, second: str) -> Interval | None:
    ours, theirs = (_outcomes(runs, tasks, agent) for agent in (first, second))
    if ours is None or theirs is None or ours[0] != theirs[0]:
        return None
    return paired_difference(ours[1], theirs[1])


def _outcomes(
    runs: Sequence[Run], tasks: set[str], agent: str
) -> tuple[list[tuple[str, str, int]], NDArray[np.float64]] | None:
    """Episodes and ``success_held`` [S, E] of an agent, or None unless every seed has every episode."""
    seeds: dict[int, dict[tuple[str, str, int], bool]] = {}
    for run in runs:
        if run.agent == agent and run.task_id in tasks:
            held = {(one.task_id, one.stratum, one.index): one.success_held for one in run.records}
            seeds.setdefault(run.seed, {}).update(held)
    if not seeds:
        return None
    episodes = sorted(next(iter(seeds.values())))
    if any(sorted(outcomes) != episodes for outcomes in seeds.values()):
        return None
    table = [[outcomes[episode] for episode in episodes] for outcomes in seeds.values()]
    return episodes, np.array(table, dtype=np.float64)
