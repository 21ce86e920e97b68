"""Compare the best planner with the best RL method of each task at equal transitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jepabench.envs.task import short_name
from jepabench.evaluation.statistics.intervals import Interval
from jepabench.results.figures.planning_vs_rl import Panel, Point
from jepabench.results.report.success_table import count

# Largest ratio of two numbers of transitions that count as equal: datasets have whole episodes.
EQUAL_WITHIN = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The best planner beside the best RL method of a task, at equal transitions.

    Attributes:
        task: Id of the task.
        planner, rl: The two points.
        difference: Success rate of the planner minus that of RL, with its 95 % interval. The two
            are treated as independent, which is conservative for agents on the same episodes.
    """

    task: str
    planner: Point
    rl: Point
    difference: Interval


def compare_families(panel: Panel, *, at: Literal["smallest", "largest"]) -> Comparison | None:
    """Compare the families at the smallest or largest number of transitions that both have.

    Returns:
        None if no planner and RL method have the same number of transitions, within
        ``EQUAL_WITHIN``.
    """
    rl = [point for point in panel.points if point.family == "rl"]
    planners = [point for point in panel.points if point.family == "planner"]
    shared = [
        point.transitions
        for point in rl
        if any(_are_equal(point.transitions, other.transitions) for other in planners)
    ]
    if not shared:
        return None
    budget = min(shared) if at == "smallest" else max(shared)
    first, second = (
        max(
            (point for point in points if _are_equal(point.transitions, budget)),
            key=lambda point: point.held.estimate,
        )
        for points in (planners, rl)
    )
    return Comparison(
        task=panel.task, planner=first, rl=second, difference=_subtract(first.held, second.held)
    )


def describe_comparison(panels: Sequence[Panel]) -> str:
    """Return what the figure shows in one sentence, or an empty string if nothing is comparable.

    A task counts as won or lost only if the interval of its difference excludes zero.
    """
    parts: dict[tuple[float, ...], str] = {}
    for at in ("smallest", "largest"):
        found = [compare_families(panel, at=at) for panel in panels]
        comparisons = [one for one in found if one is not None]
        if comparisons:
            budgets = sorted(one.rl.transitions for one in comparisons)
            parts.setdefault(tuple(budgets), _describe(comparisons, budgets))
    sentence = "; ".join(parts.values())
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def mean_difference(comparisons: Sequence[Comparison]) -> Interval:
    """Return the mean difference over tasks, which are independent, with its 95 % interval."""
    gaps = [one.difference for one in comparisons]
    below = math.sqrt(sum((gap.estimate - gap.low) ** 2 for gap in gaps)) / len(gaps)
    above = math.sqrt(sum((gap.high - gap.estimate) ** 2 for gap in gaps)) / len(gaps)
    estimate = float(np.mean([gap.estimate for gap in gaps]))
    return Interval(estimate, max(-1.0, estimate - below), min(1.0, estimate + above), gaps[0].over)


def count_wins(differences: Sequence[Interval]) -> tuple[int, int]:
    """Return how many differences are above and below zero with their whole interval."""
    return sum(gap.low > 0 for gap in differences), sum(gap.high < 0 for gap in differences)


def describe_interval(gap: Interval) -> str:
    """Return a difference in percentage points with its interval."""
    return (
        f"{100 * gap.estimate:+.0f} points, 95 % interval "
        f"{100 * gap.low:+.0f} to {100 * gap.high:+.0f}"
    )


def _describe(comparisons: Sequence[Comparison], budgets: Sequence[float]) -> str:
    wins, losses = count_wins([one.difference for one in comparisons])
    shown = " to ".join(count(budget) for budget in dict.fromkeys((budgets[0], budgets[-1])))
    names = ", ".join(short_name(one.task) for one in comparisons if one.difference.low > 0)
    return (
        f"with {shown} transitions the best planner holds more goals than the best RL method on "
        f"{wins or 'none'} of {len(comparisons)} tasks{f' ({names})' if names else ''} "
        f"and fewer on {losses or 'none'} "
        f"({describe_interval(mean_difference(comparisons))})"
    )


def _subtract(first: Interval, second: Interval) -> Interval:
    """Return a difference of independent rates with its limits (Newcombe 1998, method 10)."""
    estimate = first.estimate - second.estimate
    below = math.hypot(first.estimate - first.low, second.high - second.estimate)
    above = math.hypot(first.high - first.estimate, second.estimate - second.low)
    return Interval(estimate, max(-1.0, estimate - below), min(1.0, estimate + above), first.over)


def _are_equal(first: float, second: float) -> bool:
    return max(first, second) <= EQUAL_WITHIN * min(first, second)
