"""Aggregates of whole runs over tasks, with intervals over runs.

*Scores* are [R, T]: one number per run (training seed) and task. IQM, optimality gap, performance
profile and probability of improvement follow Agarwal et al. 2021, "Deep RL at the Edge of the
Statistical Precipice". Leading dimensions are kept. Random numbers come from the given generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jepabench.evaluation.statistics.intervals import (
    Array,
    Interval,
    StatisticsError,
    check_scores,
    t_quantile,
    tail_probabilities,
)
from jepabench.evaluation.statistics.rates import clopper_pearson

_CHUNK = 4_000_000


def mean(scores: ArrayLike) -> Array:
    """Return the mean over runs and tasks of scores [..., R, T]."""
    return check_scores(scores).mean(axis=(-2, -1))


def median(scores: ArrayLike) -> Array:
    """Return the median over tasks of the mean over runs of scores [..., R, T]."""
    return np.median(check_scores(scores).mean(axis=-2), axis=-1)


def iqm(scores: ArrayLike) -> Array:
    """Return the interquartile mean of scores [..., R, T]: the mean of the middle half."""
    scores = check_scores(scores)
    flat = scores.reshape(*scores.shape[:-2], -1)
    cut = flat.shape[-1] // 4
    if cut:
        flat = np.partition(flat, (cut, flat.shape[-1] - cut - 1), axis=-1)[..., cut:-cut]
    return flat.mean(axis=-1)


def optimality_gap(scores: ArrayLike, target: float = 1.0) -> Array:
    """Return the mean shortfall of scores [..., R, T] from ``target``. Lower is better."""
    return target - np.minimum(check_scores(scores), target).mean(axis=(-2, -1))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Array:
    """Return the share of runs [..., K] that score above each of K ``thresholds``."""
    return (check_scores(scores)[..., None] > np.asarray(thresholds)).mean(axis=(-3, -2))


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> Array:
    """Return the probability that a run of ``first`` scores above one of ``second``.

    Averages over tasks; a tie counts as half a win.

    Args:
        first, second: Scores [..., R1, T] and [..., R2, T].
    """
    ours, theirs = check_scores(first)[..., :, None, :], check_scores(second)[..., None, :, :]
    if ours.shape[-1] != theirs.shape[-1]:
        raise StatisticsError(
            f"Both need the same tasks, got {ours.shape[-1]} and {theirs.shape[-1]}."
        )
    return ((ours > theirs) + 0.5 * (ours == theirs)).mean(axis=(-3, -2, -1))


def improvement_interval(
    first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95
) -> Interval:
    """Return ``probability_of_improvement`` of two score matrices with its interval over runs.

    The variance of the Mann-Whitney statistic is at most p (1 - p) / min(R1, R2) for each task
    (van Dantzig 1951). The interval is Clopper-Pearson's with min(R1, R2) trials per task, so it is
    conservative; with one run each it is almost uninformative.

    Args:
        first, second: Scores [R1, T] and [R2, T].
        confidence: Nominal coverage.
    """
    tail_probabilities(confidence)
    estimate = np.asarray(probability_of_improvement(first, second))
    runs, tasks = min(np.shape(first)[-2], np.shape(second)[-2]), np.shape(first)[-1]
    low, high = clopper_pearson(estimate, np.asarray(float(runs * tasks)), confidence)
    return Interval(float(estimate), float(low), float(high), "runs")


def stratified_replicates(
    statistic: Callable[..., Array],
    *scores: ArrayLike,
    generator: np.random.Generator,
    num_resamples: int = 50_000,
    groups: ArrayLike | None = None,
) -> Array:
    """Return ``statistic`` of resampled scores [num_resamples, ...]. Runs are resampled per task.

    Args:
        statistic: Takes one array [..., R, T] for each of ``scores``; keeps the leading dimension.
        scores: [R, T] each, resampled independently.
        generator: The only source of randomness.
        num_resamples: Bootstrap resamples.
        groups: Group of each column [T]. The columns of a group (strata of one task) share their
            trained agents, so their runs are resampled together. By default each column is a group.

    Raises:
        StatisticsError: NaN, or fewer than 2 runs.
    """
    checked = [check_scores(array) for array in scores]
    for array in checked:
        if array.ndim != 2 or array.shape[0] < 2:
            raise StatisticsError(
                f"An interval needs scores [runs, tasks] with at least 2 runs, got {array.shape}."
            )
    chunk = max(1, _CHUNK // max(array.size for array in checked))
    replicates = []
    for start in range(0, num_resamples, chunk):
        size = min(chunk, num_resamples - start)
        replicates.append(
            statistic(*[_resample(array, size, generator, groups) for array in checked])
        )
    return np.concatenate(replicates)


def stratified_bootstrap(
    statistic: Callable[..., Array],
    *scores: ArrayLike,
    generator: np.random.Generator,
    num_resamples: int = 50_000,
    confidence: float = 0.95,
) -> Interval:
    """Return a statistic of scores with its percentile interval over runs.

    With 3 to 5 runs it is too narrow: nominal 95 % intervals cover 85 to 90 % at 4 tasks. Arguments
    as for ``stratified_replicates``.
    """
    replicates = stratified_replicates(
        statistic, *scores, generator=generator, num_resamples=num_resamples
    )
    low, high = np.quantile(replicates, tail_probabilities(confidence))
    return Interval(float(statistic(*scores)), float(low), float(high), "runs")


def aggregate_interval(
    statistic: Callable[..., Array],
    scores: ArrayLike,
    *,
    reach: float,
    generator: np.random.Generator,
    groups: ArrayLike | None = None,
    num_resamples: int = 20_000,
    confidence: float = 0.95,
) -> Interval:
    """Return a statistic of scores [R, T] with an interval over runs that covers with 3 to 5 runs.

    Bootstrap replicates give the shape of the interval. Their variance, which is too small by
    (R - 1) / R, is scaled, and a t quantile is used with R - 1 degrees of freedom for each second
    group, because the IQM uses half of the runs. Runs with equal scores have no such variance, so
    the interval extends at least ``reach`` to both sides. Other arguments as for
    ``stratified_replicates``.

    Args:
        reach: Least distance of both ends from the estimate, above 0, such as ``episode_reach``.

    Raises:
        StatisticsError: ``reach`` is not positive, NaN in the scores, or fewer than 2 runs.
    """
    if not reach > 0:
        raise StatisticsError(f"reach must be above 0, got {reach}.")
    replicates = stratified_replicates(
        statistic, scores, generator=generator, num_resamples=num_resamples, groups=groups
    )
    runs, columns = np.shape(scores)
    count = columns if groups is None else len(np.unique(np.asarray(groups)))
    tails = tail_probabilities(confidence)
    degrees = max(1.0, count / 2) * (runs - 1)
    scale = (runs / (runs - 1)) ** 0.5 * t_quantile(degrees, confidence) / special.ndtri(tails[1])
    estimate = float(statistic(scores))
    low, high = estimate + scale * (np.quantile(replicates, tails) - estimate)
    return Interval(
        estimate, float(min(low, estimate - reach)), float(max(high, estimate + reach)), "runs"
    )


def episode_reach(outcomes: Sequence[Array], *, confidence: float = 0.95) -> float:
    """Return the uncertainty of the mean rate of some cells that is due to the sample of episodes.

    It is the larger distance to the Clopper-Pearson limits of the pooled episodes.

    Args:
        outcomes: Success [S, E] of each cell. Seeds share the episodes, which count once.
        confidence: Nominal coverage.
    """
    rate = np.asarray(float(np.mean([cell.mean() for cell in outcomes])))
    episodes = np.asarray(float(sum(cell.shape[1] for cell in outcomes)))
    low, high = clopper_pearson(rate, episodes, confidence)
    return float(max(rate - low, high - rate))


def _resample(
    scores: Array, size: int, generator: np.random.Generator, groups: ArrayLike | None
) -> Array:
    """Return ``size`` copies of scores [R, T] with the runs of each task resampled."""
    runs, tasks = scores.shape
    group = (
        np.arange(tasks)
        if groups is None
        else np.unique(np.asarray(groups), return_inverse=True)[1]
    )
    kind = np.uint16 if runs < 2**16 else np.int64
    picked = generator.integers(0, runs, (size, runs, int(group.max()) + 1), dtype=kind)[..., group]
    return np.take(scores, picked.astype(np.int64) * tasks + np.arange(tasks))
