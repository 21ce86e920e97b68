"""Confidence intervals of success rates and of their paired differences.

*Outcomes* are [S, E]: success (0 to 1) for each training seed and episode of one cell (task,
stratum and agent). All seeds are evaluated on the same episodes. The method and its sources are
described in ``jepabench.evaluation.statistics.rates``, its coverage in ``docs/statistics.md``.
Statistics of whole runs over tasks are in ``jepabench.evaluation.statistics.aggregates``.

With fewer than three seeds nothing is known about training: the interval is then conditional on the
given seeds and ``Interval.over`` is ``"episodes"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jepabench.evaluation.statistics.rates import (
    FEWEST_SEEDS,
    Limits,
    difference_limits,
    rate_limits,
)

Array = NDArray[np.float64]


class StatisticsError(ValueError):
    """Data for which the requested statistic is not defined."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        estimate: The statistic of the data.
        low, high: Ends of the interval; ``low < high`` always.
        over: Sources of randomness: ``"seeds and episodes"``, ``"episodes"`` (too few seeds) or
            ``"runs"``.
    """

    estimate: float
    low: float
    high: float
    over: str


def cell_interval(outcomes: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return the success rate of one cell with its interval over training seeds and episodes.

    With one seed this is the Clopper-Pearson interval.

    Args:
        outcomes: [S, E], within 0 and 1.
        confidence: Nominal coverage.

    Raises:
        StatisticsError: A wrong shape, NaN, or values outside 0 to 1.
    """
    return mean_over_cells([[outcomes]], confidence=confidence)


def paired_difference(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return the difference of two success rates on the same episodes, with its interval.

    Args:
        first: Outcomes [S1, E], within 0 and 1.
        second: Outcomes [S2, E] of the other agent. The seeds of the two agents are not paired.
        confidence: Nominal coverage.

    Raises:
        StatisticsError: A wrong shape, NaN, a value outside 0 to 1, or different numbers of
            episodes.
    """
    return mean_over_cells([[first]], [[second]], confidence=confidence)


def mean_over_cells(
    tasks: Sequence[Sequence[ArrayLike]],
    others: Sequence[Sequence[ArrayLike]] | None = None,
    *,
    confidence: float = 0.95,
) -> Interval:
    """Return the mean success rate over cells that count equally, or its paired difference.

    Tasks and strata are fixed, not sampled. The strata of one task share their training seeds;
    tasks are independent.

    Args:
        tasks: For each task, outcomes [S, E] of each stratum.
        others: The same for another agent on the same episodes; the interval is then that of the
            mean difference ``tasks - others``.
        confidence: Nominal coverage.

    Raises:
        StatisticsError: No cells, a wrong shape, NaN, values outside 0 to 1, strata with different
            numbers of seeds, or cells of the two agents that do not match.
    """
    tail_probabilities(confidence)
    ours = _check_tasks(tasks)
    if others is None:
        return _interval(rate_limits(ours, confidence), [ours])
    theirs = _check_tasks(others)
    shapes = [[[cell.shape[1] for cell in cells] for cells in one] for one in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise StatisticsError(
            "Paired agents need the same episodes; numbers of episodes are "
            f"{shapes[0]} and {shapes[1]} (tasks, strata)."
        )
    return _interval(difference_limits(ours, theirs, confidence), [ours, theirs])


def means_over_cells(
    tasks: Sequence[Sequence[NDArray[np.float64]]], *, confidence: float = 0.95
) -> list[Interval]:
    """Return ``mean_over_cells`` of N agents with equal numbers of seeds and episodes.

    Args:
        tasks: For each task, outcomes [N, S, E] of each stratum, between 0 and 1.
        confidence: Nominal coverage.
    """
    limits = rate_limits(tasks, confidence)
    agents = zip(limits.estimate, limits.low, limits.high, strict=True)
    seeds = [[[cell[0] for cell in cells] for cells in tasks]]
    return [_interval(Limits(*agent), seeds) for agent in agents]


def check_scores(scores: ArrayLike) -> Array:
    """Return scores [..., R, T] as float64.

    Raises:
        StatisticsError: Fewer than two dimensions, an empty array, or NaN.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim < 2 or array.size == 0:
        raise StatisticsError(f"Scores must be [runs, tasks], got shape {array.shape}.")
    if np.isnan(array).any():
        raise StatisticsError(
            "Scores contain NaN. Enter a failed run as 0, or leave the task out for all agents."
        )
    return array


def tail_probabilities(confidence: float) -> tuple[float, float]:
    """Return the probabilities below the two ends of an interval.

    Raises:
        StatisticsError: ``confidence`` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise StatisticsError(f"confidence must be between 0 and 1, got {confidence}.")
    return (1 - confidence) / 2, (1 + confidence) / 2


def t_quantile(degrees: float, confidence: float) -> float:
    """Return the two-sided quantile of Student's t; ``degrees`` of freedom may be infinite."""
    upper = tail_probabilities(confidence)[1]
    return float(special.stdtrit(degrees, upper) if np.isfinite(degrees) else special.ndtri(upper))


def _check_tasks(tasks: Sequence[Sequence[ArrayLike]]) -> list[list[Array]]:
    checked = [[_check_outcomes(cell) for cell in cells] for cells in tasks]
    if not checked or not all(checked):
        raise StatisticsError("An interval needs at least one cell for each task.")
    for cells in checked:
        if len({len(cell) for cell in cells}) > 1:
            raise StatisticsError(
                "The strata of one task need the same training seeds; numbers of seeds are "
                f"{[len(cell) for cell in cells]}."
            )
    return checked


def _check_outcomes(outcomes: ArrayLike) -> Array:
    array = check_scores(outcomes)
    if array.ndim != 2 or array.shape[1] < 2:
        raise StatisticsError(
            f"Outcomes must be [seeds, episodes] with at least 2 episodes, got shape {array.shape}."
        )
    if array.min() < 0 or array.max() > 1:
        raise StatisticsError(
            f"Outcomes must be within 0 and 1, got {array.min():g} to {array.max():g}."
        )
    return array


def _interval(limits: Limits, agents: Sequence[Sequence[Sequence[Array]]]) -> Interval:
    trained = any(len(cells[0]) >= FEWEST_SEEDS for tasks in agents for cells in tasks)
    return Interval(
        float(limits.estimate),
        float(limits.low),
        float(limits.high),
        "seeds and episodes" if trained else "episodes",
    )
