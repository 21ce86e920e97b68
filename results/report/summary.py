"""Summarise a success table in sentences: planning against RL, paired differences, references."""

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
        headline: the best planner against the best policy, or the two best agents if all are of one
            family.
        details: their paired difference and what each agent may use.
        context: the floors and ceilings.
        best: the agent of the headline; empty if no agent has all its results.
    """

    headline: str
    details: str
    context: str
    best: str


def summarise(
    cells: Sequence[Cell], runs: Sequence[Run], *, place: str, tracks: Mapping[str, str]
) -> Summary:
    """Summarise the mean ``success_held`` of the agents that have all their results.

    Where the two agents of the headline differ most in one stratum, the details begin with it.

    Args:
        cells: cells of one or more tasks, from ``read_cells``.
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
    best, second = ranked[0], _find_rival(ranked, cells)
    compared = _paired(runs, {cell.task for cell in cells}, best, second)
    relation = "is not significantly worse" if _is_tied(compared) else "follows"
    headline += f"; {second}, at {percent(means[second])} %, {relation}."
    details = (
        _largest_gap(cells, best, second),
        _difference(compared),
        _tracks([best, second], tracks),
    )
    return Summary(headline, " ".join(part for part in details if part), context, best)


def _find_rival(ranked: Sequence[str], cells: Sequence[Cell]) -> str:
    """Return the best agent of the other family (planning or RL), else the second best agent."""
    planners = {cell.agent for cell in cells if cell.is_done and cell.model_steps > 0}
    others = [name for name in ranked if (name in planners) != (ranked[0] in planners)]
    return others[0] if others else ranked[1]


def _largest_gap(cells: Sequence[Cell], best: str, second: str) -> str:
    """Return a sentence about the stratum that separates two agents most, if there are several."""
    strata: dict[str, dict[str, list[float]]] = {}
    for cell in cells:
        if cell.agent in (best, second):
            rates = strata.setdefault(cell.stratum, {best: [], second: []})
            rates[cell.agent].append(cell.success_held)
    means = {
        stratum: (float(np.mean(rates[best])), float(np.mean(rates[second])))
        for stratum, rates in strata.items()
        if rates[best] and rates[second]
    }
    if len(means) < 2:
        return ""
    stratum, (ours, theirs) = max(means.items(), key=lambda item: abs(item[1][0] - item[1][1]))
    if round(100 * ours) == round(100 * theirs):
        return ""
    return f"They differ most on {stratum} goals: {percent(ours)} % against {percent(theirs)} %."


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


def _is_tied(compared: tuple[Interval, int, int] | None) -> bool:
    return compared is not None and compared[0].low <= 0


def _difference(compared: tuple[Interval, int, int] | None) -> str:
    if compared is None:
        return ""
    gap, num_different, num_episodes = compared
    if not num_different:
        return f"No episode of {num_episodes} differed."
    ends = (gap.estimate, gap.low, gap.high)
    middle, low, high = (f"{100 * end:+.0f}".replace("-", "\N{MINUS SIGN}") for end in ends)
    return f"On the same episodes they differ by {middle} points (95 % interval {low} to {high})."


def _tracks(agents: Sequence[str], tracks: Mapping[str, str]) -> str:
    named = [f"{agent}: {tracks[agent]}." for agent in agents if tracks.get(agent)]
    return " ".join(named)


def _paired(
    runs: Sequence[Run], tasks: set[str], first: str, second: str
) -> tuple[Interval, int, int] | None:
    """Return the paired difference, the number of differing episodes and of all episodes."""
    ours, theirs = (_outcomes(runs, tasks, agent) for agent in (first, second))
    if ours is None or theirs is None or ours[0] != theirs[0]:
        return None
    gap = paired_difference(ours[1], theirs[1])
    different = ours[1].mean(axis=0) != theirs[1].mean(axis=0)
    return gap, int(different.sum()), len(different)


def _outcomes(
    runs: Sequence[Run], tasks: set[str], agent: str
) -> tuple[list[tuple[str, str, int]], NDArray[np.float64]] | None:
    """Return episodes and ``success_held`` [S, E], or None unless every seed has every episode."""
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
