"""Summarise a success table in sentences: planning against RL, paired differences, references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepabench.evaluation.statistics.intervals import Interval, paired_difference
from jepabench.results.media.episode_media import Run
from jepabench.results.report.success_table import Cell, Kind, agent_kinds, percent


@dataclass(frozen=True, slots=True)
class Summary:
    """Sentences about one or more tasks.

    Attributes:
        headline: The best planner against the best policy, or the two best agents if all are of one
            family.
        details: Their paired difference and what each agent may use.
        context: The floors and ceilings.
        best: The agent of the headline; empty if no agent has all its results.
    """

    headline: str
    details: str
    context: str
    best: str


def summarise(
    cells: Sequence[Cell], runs: Sequence[Run], *, place: str, tracks: Mapping[str, str]
) -> Summary:
    """Summarise the ``success_held`` of the agents that have all their results.

    The headline is about the stratum that separates its two agents most. If no stratum separates
    them, it is about the mean over all strata.

    Args:
        cells: Cells of one or more tasks, from ``read_cells``.
        runs: The records behind them.
        place: Words for the tasks, such as ``on TwoRoom-v1``.
        tracks: What each agent may use, in words.
    """
    means, kinds = _means(cells), agent_kinds(cells)
    context = _context(means, kinds)
    ranked = sorted(
        (agent for agent in means if kinds[agent] == "learned"),
        key=lambda agent: -means[agent],
    )
    if not ranked:
        return Summary(f"No agent under test has all its results {place} yet.", "", context, "")
    best = ranked[0]
    if len(ranked) == 1:
        headline = f"{_describe((best,), means[best], place)}."
        return Summary(headline, _tracks(ranked, tracks), context, best)
    second = _find_rival(ranked, cells)
    compared = _paired(runs, {cell.task for cell in cells}, best, second)
    stratum, rates = _find_separating_stratum(cells, runs, best, second)
    if not stratum:
        relation = "is not significantly worse" if _is_tied(compared) else "follows"
        first, other, rates = best, second, means
    else:
        relation = "follows"
        first, other = sorted((best, second), key=lambda agent: -rates[agent])
    if percent(rates[first]) == percent(rates[other]):
        headline = f"{_describe((first, other), rates[first], place)}."
    else:
        headline = (
            f"{_describe((first,), rates[first], place, stratum)}; "
            f"{other}, at {percent(rates[other])} %, {relation}."
        )
    details = (
        _all_strata(means, best, second) if stratum else "",
        _difference(compared),
        _tracks([best, second], tracks),
    )
    return Summary(headline, " ".join(part for part in details if part), context, best)


def _describe(agents: Sequence[str], rate: float, place: str, stratum: str = "") -> str:
    goals = f"the {stratum} goals" if stratum else "the goals"
    verbs = "reaches and holds" if len(agents) == 1 else "each reach and hold"
    return f"{' and '.join(agents)} {verbs} {percent(rate)} % of {goals} {place}"


def _all_strata(means: Mapping[str, float], best: str, second: str) -> str:
    rates = f"{best} {percent(means[best])} %, {second} {percent(means[second])} %"
    return f"Mean over all strata: {rates}."


def _find_rival(ranked: Sequence[str], cells: Sequence[Cell]) -> str:
    """Return the best agent of the other family (planning or RL), else the second best agent."""
    planners = {cell.agent for cell in cells if cell.is_done and cell.model_steps > 0}
    others = [name for name in ranked if (name in planners) != (ranked[0] in planners)]
    return others[0] if others else ranked[1]


def _find_separating_stratum(
    cells: Sequence[Cell], runs: Sequence[Run], best: str, second: str
) -> tuple[str, dict[str, float]]:
    """Return the stratum that separates two agents most, and the success of both there.

    The stratum is empty if there is only one, or if the agents do not differ significantly there.
    """
    strata = {
        stratum: _means([cell for cell in cells if cell.stratum == stratum])
        for stratum in dict.fromkeys(cell.stratum for cell in cells)
    }
    if len(strata) < 2:
        return "", {}
    stratum = max(strata, key=lambda name: abs(strata[name][best] - strata[name][second]))
    rates = strata[stratum]
    compared = _paired(runs, {cell.task for cell in cells}, best, second, stratum)
    if percent(rates[best]) == percent(rates[second]) or (
        compared is not None and compared[0].low <= 0 <= compared[0].high
    ):
        return "", {}
    return stratum, rates


def _means(cells: Sequence[Cell]) -> dict[str, float]:
    agents: dict[str, list[Cell]] = {}
    for cell in cells:
        agents.setdefault(cell.agent, []).append(cell)
    return {
        agent: sum(cell.success_held for cell in own) / len(own)
        for agent, own in agents.items()
        if all(cell.is_done for cell in own)
    }


def _context(means: Mapping[str, float], kinds: Mapping[str, Kind]) -> str:
    parts = []
    for kind in ("floor", "ceiling"):
        named = [
            f"{agent} {percent(rate)} %" for agent, rate in means.items() if kinds[agent] == kind
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
    runs: Sequence[Run], tasks: set[str], first: str, second: str, stratum: str = ""
) -> tuple[Interval, int, int] | None:
    """Return the paired difference, the number of differing episodes and of all episodes.

    Only the episodes of ``stratum`` count, if it is given.
    """
    ours, theirs = (_outcomes(runs, tasks, agent, stratum) for agent in (first, second))
    if ours is None or theirs is None or ours[0] != theirs[0]:
        return None
    gap = paired_difference(ours[1], theirs[1])
    different = ours[1].mean(axis=0) != theirs[1].mean(axis=0)
    return gap, int(different.sum()), len(different)


def _outcomes(
    runs: Sequence[Run], tasks: set[str], agent: str, stratum: str
) -> tuple[list[tuple[str, str, int]], NDArray[np.float64]] | None:
    """Return episodes and ``success_held`` [S, E], or None unless every seed has every episode."""
    seeds: dict[int, dict[tuple[str, str, int], bool]] = {}
    for run in runs:
        if run.agent == agent and run.task_id in tasks:
            held = {
                (one.task_id, one.stratum, one.index): one.success_held
                for one in run.records
                if not stratum or one.stratum == stratum
            }
            seeds.setdefault(run.seed, {}).update(held)
    if not seeds:
        return None
    episodes = sorted(next(iter(seeds.values())))
    if any(sorted(outcomes) != episodes for outcomes in seeds.values()):
        return None
    table = [[outcomes[episode] for episode in episodes] for outcomes in seeds.values()]
    return episodes, np.array(table, dtype=np.float64)
