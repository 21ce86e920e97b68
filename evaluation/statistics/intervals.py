"""Statistics of a benchmark: pure functions on arrays, every random draw from a generator that is passed in.

*Outcomes* are [S, E]: one number a training seed and episode of one cell, every seed meeting the same episodes. Percentile
bootstraps of 3 to 5 seeds are too narrow (73 to 90 % coverage where 95 % is claimed), so intervals of a cell take their
width from the variance components of seeds and episodes, and a t quantile. Numbers of whole runs over tasks are in
``jepabench.evaluation.statistics.aggregates``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]
FEWEST_SEEDS = 3


class StatisticsError(ValueError):
    """Numbers that the asked statistic is not defined for."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        estimate: the statistic of the data.
        low, high: ends of the interval.
        over: what it counts as random: ``"seeds and episodes"``, ``"episodes"`` (too few seeds) or ``"runs"``.
    """

    estimate: float
    low: float
    high: float
    over: str


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Returns a success rate with its Wilson score interval, for episodes that are independent (one seed)."""
    if trials < 1 or not 0 <= successes <= trials:
        raise StatisticsError(
            f"Needs 0 <= successes <= trials and trials >= 1, got {successes} of {trials}."
        )
    rate = successes / trials
    return Interval(
        rate, *_wilson(rate, trials, float(special.ndtri(tails_of(confidence)[1]))), "episodes"
    )


def cell_interval(outcomes: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Returns the success rate of a cell with an interval over training seeds and episodes; outcomes [S, E] within 0 and 1.

    A Wilson interval at the effective sample size, that is rate x (1 - rate) over the variance of the mean, with the t
    quantile of that variance (design-adjusted Wilson, Franco et al. 2019). The variance is estimated with one more
    success and one more failure that all seeds share, so that a cell without a failure does not look certain.
    Fewer than 3 seeds say nothing about training: the interval is then over episodes only; with one seed it is Wilson's.
    """
    outcomes = _outcomes(outcomes)
    if outcomes.min() < 0 or outcomes.max() > 1:
        raise StatisticsError(
            f"Outcomes are within 0 and 1, got {outcomes.min()} to {outcomes.max()}."
        )
    num_seeds, num_episodes = outcomes.shape
    rate = float(outcomes.mean())
    shared = np.hstack([outcomes, np.ones((num_seeds, 1)), np.zeros((num_seeds, 1))])
    variance, freedom = _variance_of_mean([shared], unbiased=num_seeds >= FEWEST_SEEDS)
    center = shared.mean()
    effective = center * (1 - center) / variance * num_episodes / (num_episodes + 2)
    low, high = _wilson(rate, min(effective, outcomes.size), t_quantile(freedom, confidence))
    return Interval(rate, low, high, _counted([outcomes]))


def hierarchical_bootstrap(
    outcomes: ArrayLike,
    *,
    generator: np.random.Generator,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Returns the mean of outcomes [S, E] on any scale, with an interval over training seeds and episodes.

    Seeds and episodes are drawn again, crossed. The replicates give the shape of the interval; their spread is scaled to
    the unbiased variance and the t quantile that belongs to it. With fewer than 3 seeds over episodes only.
    """
    return _crossed_bootstrap([_outcomes(outcomes)], generator, num_resamples, confidence)


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    *,
    generator: np.random.Generator,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Returns mean(first) - mean(second) of two agents on the same episodes, [S1, E] and [S2, E], with its interval.

    As ``hierarchical_bootstrap``; both agents are given the same redrawn episodes and each its own seeds. An agent with
    fewer than 3 seeds (or without training) adds no variance of seeds.
    """
    pair = [_outcomes(first), _outcomes(second)]
    if pair[0].shape[1] != pair[1].shape[1]:
        raise StatisticsError(
            f"A pair shares its episodes, got {pair[0].shape[1]} and {pair[1].shape[1]}."
        )
    return _crossed_bootstrap(pair, generator, num_resamples, confidence)


def mean_over_cells(
    tasks: Sequence[Sequence[ArrayLike]],
    others: Sequence[Sequence[ArrayLike]] | None = None,
    *,
    confidence: float = 0.95,
) -> Interval:
    """Returns the mean of cells that count the same, or by how much it is above that of ``others``, with its interval.

    The cells (strata) of a task share their training seeds, so the interval is of the seeds' means over a task and of the
    episodes within each cell; tasks are independent. Which tasks and strata there are is not random. As ``cell_interval``,
    it is over episodes only with fewer than 3 seeds. Without resampling: microseconds a cell.

    Args:
        tasks: by task, outcomes [S, E] of each stratum.
        others: of another agent on the same episodes.
        confidence: of the interval.
    """
    num_cells = sum(len(cells) for cells in tasks)
    agents = [tasks] if others is None else [tasks, others]
    estimate = _contrast(
        [np.mean([_outcomes(cell).mean() for cells in one for cell in cells]) for one in agents]
    )
    variances, scatter, trained = [], 0.0, False
    for cells in zip(*agents, strict=True):
        matrices = [[_outcomes(cell) for cell in one] for one in cells]
        variance, freedom = _variance_of_strata(matrices)
        share = (len(cells[0]) / num_cells) ** 2
        variances.append(variance * share)
        scatter += (variance * share) ** 2 / freedom
        trained = trained or any(len(one[0]) >= FEWEST_SEEDS for one in matrices)
    variance = float(np.sum(variances))
    half = variance**0.5 * t_quantile(variance**2 / scatter if scatter > 0 else np.inf, confidence)
    limits = (-1.0, 1.0) if others is not None else (0.0, 1.0)
    low, high = np.clip([estimate - half, estimate + half], *limits)
    return Interval(
        float(estimate), float(low), float(high), "seeds and episodes" if trained else "episodes"
    )


def episodes_needed(
    first: float,
    second: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    discordant: float | None = None,
) -> int:
    """Returns how many episodes an agent must run to tell success rate ``first`` from ``second`` (two-sided test).

    Two proportions (Fleiss) for separate episodes; with ``discordant``, McNemar's test on the same episodes (Connor
    1987), where ``discordant`` is the share of episodes that exactly one of the two solves. To the nearest integer: the
    normal approximation is not good to one episode.

    Raises:
        StatisticsError: rates outside 0 to 1 or equal, or fewer discordant episodes than the difference.
    """
    gap = abs(first - second)
    if not (0 <= first <= 1 and 0 <= second <= 1) or gap == 0:
        raise StatisticsError(
            f"Needs two different success rates within 0 and 1, got {first} and {second}."
        )
    if not (0 < alpha < 1 and 0 < power < 1):
        raise StatisticsError(f"power and alpha are within 0 and 1, got {power} and {alpha}.")
    level, reach = special.ndtri(1 - alpha / 2), special.ndtri(power)
    if discordant is None:
        both = (first + second) / 2
        null, alternative = 2 * both * (1 - both), first * (1 - first) + second * (1 - second)
    else:
        # At most: everything that one solves and the other does not, if their failures or successes never coincide.
        most = min(first + second, 2 - first - second)
        if not gap <= discordant <= most + 1e-12:
            raise StatisticsError(
                f"With these rates {gap:.3g} to {most:.3g} are discordant, got {discordant}."
            )
        null, alternative = discordant, discordant - gap**2
    return max(1, round(float((level * null**0.5 + reach * alternative**0.5) ** 2 / gap**2)))


def checked_scores(scores: ArrayLike) -> Array:
    """Returns scores [..., R, T] as float64.

    Raises:
        StatisticsError: another shape, nothing in it, or NaN.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim < 2 or array.size == 0:
        raise StatisticsError(f"Scores are [runs, tasks], got an array of shape {array.shape}.")
    if np.isnan(array).any():
        raise StatisticsError(
            "Scores hold NaN. A run that failed counts as 0: enter it so, or leave the task out for all."
        )
    return array


def _outcomes(outcomes: ArrayLike) -> Array:
    array = checked_scores(outcomes)
    if array.ndim != 2 or array.shape[1] < 2:
        raise StatisticsError(
            f"Outcomes are [seeds, episodes] with 2 episodes or more, got {array.shape}."
        )
    return array


def tails_of(confidence: float) -> tuple[float, float]:
    """Returns the probabilities at the two ends of an interval."""
    if not 0 < confidence < 1:
        raise StatisticsError(f"confidence is within 0 and 1, got {confidence}.")
    return (1 - confidence) / 2, (1 + confidence) / 2


def t_quantile(freedom: float, confidence: float) -> float:
    """Returns by how many standard errors an interval reaches to each side; infinite ``freedom`` is the normal distribution."""
    upper = tails_of(confidence)[1]
    return float(special.stdtrit(freedom, upper) if np.isfinite(freedom) else special.ndtri(upper))


def _wilson(rate: float, trials: float, quantile: float) -> tuple[float, float]:
    square = quantile**2 / trials
    center = (rate + square / 2) / (1 + square)
    half = (rate * (1 - rate) * square + square**2 / 4) ** 0.5 / (1 + square)
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def _counted(matrices: Sequence[Array]) -> str:
    return (
        "seeds and episodes"
        if any(len(matrix) >= FEWEST_SEEDS for matrix in matrices)
        else "episodes"
    )


def _contrast(values: Sequence[Any]) -> Any:
    return values[0] - values[1] if len(values) == 2 else values[0]


def _variance_of_mean(matrices: Sequence[Array], *, unbiased: bool = True) -> tuple[float, float]:
    """Returns the variance of the mean (or of the difference of two) of outcomes [S, E], and its degrees of freedom.

    Seeds and episodes are crossed random effects: the variance is that of the seed means, plus that of the episode
    means less the residual part that the former holds already. Degrees of freedom after Satterthwaite.
    """
    num_episodes = matrices[0].shape[1]
    episodes = (
        _contrast([matrix.mean(axis=0) for matrix in matrices]).var(ddof=int(unbiased))
        / num_episodes
    )
    trained = [matrix for matrix in matrices if len(matrix) >= FEWEST_SEEDS]
    if not trained:
        return float(episodes), float(num_episodes - 1) if unbiased else np.inf
    seeds = np.array([matrix.mean(axis=1).var(ddof=1) / len(matrix) for matrix in trained])
    episodes = max(0.0, episodes - sum(_residual_variance_of_mean(matrix) for matrix in trained))
    variance = float(seeds.sum() + episodes)
    scatter = sum(seeds**2 / [len(matrix) - 1 for matrix in trained]) + episodes**2 / (
        num_episodes - 1
    )
    return variance, variance**2 / scatter if scatter > 0 else np.inf


def _variance_of_strata(matrices: Sequence[Sequence[Array]]) -> tuple[float, float]:
    """Returns variance and degrees of freedom of the mean over strata of one task, or of the difference of two agents' means.

    Args:
        matrices: of one or two agents, outcomes [S, E] of each stratum.
    """
    count = len(matrices[0])
    # Two outcomes more in each cell, as in ``cell_interval``, on which two agents differ: what never varied is not certain.
    more = [(1.0, 0.0), (0.0, 1.0)]
    padded = [
        [np.hstack([cell, np.full((len(cell), 2), more[place])]) for cell in strata]
        for place, strata in enumerate(matrices)
    ]
    parts = [_variance_of_mean(cells) for cells in zip(*padded, strict=True)]
    episodes = np.array([variance for variance, _ in parts]) / count**2
    together = float(episodes.sum())
    freedom = (
        together**2 / sum(part**2 / free for part, (_, free) in zip(episodes, parts, strict=True))
        if together
        else np.inf
    )
    for strata in matrices:
        if len(strata[0]) >= FEWEST_SEEDS and count > 1:
            apart = sum(cell.mean(axis=1).var(ddof=1) / len(cell) for cell in strata) / count**2
            joint = np.mean([cell.mean(axis=1) for cell in strata], axis=0).var(ddof=1) / len(
                strata[0]
            )
            if joint > apart:
                together, freedom = (
                    together + joint - apart,
                    min(freedom, 2.0 * (len(strata[0]) - 1)),
                )
    return together, freedom


def _residual_variance_of_mean(matrix: Array) -> float:
    rows, columns = matrix.shape
    residual = matrix - matrix.mean(axis=0) - matrix.mean(axis=1, keepdims=True) + matrix.mean()
    return float((residual**2).sum() / ((rows - 1) * (columns - 1)) / matrix.size)


def _crossed_bootstrap(
    matrices: Sequence[Array], generator: np.random.Generator, num_resamples: int, confidence: float
) -> Interval:
    num_episodes = matrices[0].shape[1]
    episode_counts = _counts(num_episodes, num_resamples, generator)
    replicates = _contrast(
        [_redrawn_means(matrix, episode_counts, generator) for matrix in matrices]
    )
    estimate = float(_contrast([matrix.mean() for matrix in matrices]))
    spread = replicates.std()
    if spread == 0:
        return Interval(estimate, estimate, estimate, _counted(matrices))
    variance, freedom = _variance_of_mean(matrices)
    tails = tails_of(confidence)
    scale = variance**0.5 / spread * t_quantile(freedom, confidence) / special.ndtri(tails[1])
    low, high = estimate + scale * (np.quantile(replicates, tails) - estimate)
    return Interval(estimate, float(low), float(high), _counted(matrices))


def _redrawn_means(
    matrix: Array, episode_counts: NDArray[np.int64], generator: np.random.Generator
) -> Array:
    """Returns means [N] of outcomes [S, E] under the episode counts [N, E] and, with enough seeds, redrawn seeds."""
    seed_means = episode_counts @ matrix.T / matrix.shape[1]
    if len(matrix) < FEWEST_SEEDS:
        return seed_means.mean(axis=1)
    seed_counts = _counts(len(matrix), len(episode_counts), generator)
    return (seed_counts * seed_means).sum(axis=1) / len(matrix)


def _counts(size: int, num_resamples: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Returns how often each of ``size`` items is drawn in a resample, [num_resamples, size]."""
    picked = (
        generator.integers(0, size, (num_resamples, size))
        + size * np.arange(num_resamples)[:, None]
    )
    return np.bincount(picked.ravel(), minlength=size * num_resamples).reshape(num_resamples, size)
