"""Limits of success rates and of their paired differences, vectorised over leading dimensions.

*Outcomes* are [..., S, E]: success (0 to 1) for each training seed and episode of one cell. All
seeds are evaluated on the same episodes. The limits are built in four steps:

1. **Episodes.** The variance of a cell's mean over episodes includes the correlation between seeds
   on the same episodes. It is estimated by moments and shrunk towards a small correlation,
   because a cell with few failures contains little information about it.
2. **Seeds.** The variance between training seeds is the mean of its posterior, given the observed
   spread of the seed means. The prior of the seeds' standard deviation on the logit scale is
   half-Cauchy (Gelman 2006). The surplus of the posterior mean over the plain estimate replaces the
   t quantile. The cells of one task share their seeds.
3. **Limits of a cell.** Clopper-Pearson limits at the effective number of episodes, which is the
   binomial variance divided by the variance of steps 1 and 2 (Korn and Graubard 1998). A difference
   uses the shares of episodes that only the first and only the second agent solves.
4. **Combination.** The distances from the estimates to their limits are combined as MOVER does
   (Zou and Donner 2008; Newcombe 1998), so that limits stay in range and are never equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
FEWEST_SEEDS = 3  # with fewer, an interval is conditional on the seeds
# Prior scale of the standard deviation of seeds on the logit scale, for one agent and for a pair.
# A pair has twice the degrees of freedom, so it needs less surplus.
SEED_SPREAD = {1: 0.3, 2: 0.25}
_SHARED, _SHARED_WEIGHT = 0.1, 8.0  # prior correlation of seeds within an episode, in episodes
_SPREADS = np.concatenate([[0.0], np.geomspace(0.05, 8.0, 28)])
_EDGES = np.concatenate([[0.0], (_SPREADS[1:] + _SPREADS[:-1]) / 2, _SPREADS[-1:]])


class Limits(NamedTuple):
    """An estimate and the two ends of its interval, each [...]."""

    estimate: Array
    low: Array
    high: Array


class _Variance(NamedTuple):
    """Moments of one cell's mean: binomial variance of one outcome, and variance from episodes."""

    binomial: Array
    episodes: Array


def rate_limits(tasks: Sequence[Sequence[Array]], confidence: float) -> Limits:
    """Return the mean success rate over cells that count equally, with its limits.

    Args:
        tasks: For each task, outcomes [..., S, E] of each stratum. Strata share their seeds.
        confidence: Probability that the interval covers the true mean.
    """
    return combine_cells([cell for cells in tasks for cell in cell_rate_limits(cells, confidence)])


def difference_limits(
    first: Sequence[Sequence[Array]], second: Sequence[Sequence[Array]], confidence: float
) -> Limits:
    """Return the mean paired difference ``first - second`` over cells, with its limits.

    Args:
        first: For each task, outcomes [..., S1, E] of each stratum.
        second: Outcomes [..., S2, E] of the other agent on the same episodes.
        confidence: Probability that the interval covers the true difference.
    """
    pairs = zip(first, second, strict=True)
    return combine_cells(
        [cell for pair in pairs for cell in cell_difference_limits(*pair, confidence)]
    )


def cell_rate_limits(cells: Sequence[Array], confidence: float) -> list[Limits]:
    """Return the success rate of each stratum of one task, for ``combine_cells``.

    Args:
        cells: Outcomes [..., S, E] of each stratum, with the same seeds.
        confidence: As for ``rate_limits``.
    """
    moments = [_rate_variance(cell) for cell in cells]
    inflation = _inflation(moments, [cells])
    found = []
    for cell, moment in zip(cells, moments, strict=True):
        rate, size = cell.mean((-2, -1)), moment.binomial / (moment.episodes * inflation)
        found.append(Limits(rate, *clopper_pearson(rate, size, confidence)))
    return found


def cell_difference_limits(
    first: Sequence[Array], second: Sequence[Array], confidence: float
) -> list[Limits]:
    """Return the paired difference on each stratum of one task, for ``combine_cells``.

    Args:
        first: Outcomes [..., S1, E] of each stratum, with the same seeds.
        second: Outcomes [..., S2, E] of the other agent; leading dimensions are broadcast.
        confidence: As for ``difference_limits``.
    """
    moments = [_pair_variance(*pair) for pair in zip(first, second, strict=True)]
    inflation = _inflation(moments, [first, second])
    found = []
    for pair, moment in zip(zip(first, second, strict=True), moments, strict=True):
        size = moment.binomial / (moment.episodes * inflation)
        found.append(_share_difference(*_discordant_shares(*pair), size, confidence))
    return found


def combine_cells(cells: Sequence[Limits]) -> Limits:
    """Return the mean of independent estimates with limits from their distances (MOVER)."""
    estimate = np.mean([cell.estimate for cell in cells], axis=0)
    below, above = (
        np.sqrt(sum(np.square(distance) for distance in distances)) / len(cells)
        for distances in (
            [cell.estimate - cell.low for cell in cells],
            [cell.high - cell.estimate for cell in cells],
        )
    )
    return Limits(estimate, estimate - below, estimate + above)


def clopper_pearson(rate: Array, size: Array, confidence: float) -> tuple[Array, Array]:
    """Return exact binomial limits of a rate in ``size`` trials; ``size`` may be fractional."""
    tail = (1 - confidence) / 2
    hits, misses = rate * size, (1 - rate) * size
    none, all_ = hits < 1e-9, misses < 1e-9
    low = special.betaincinv(np.where(none, 1.0, hits), misses + 1, tail)
    high = special.betaincinv(hits + 1, np.where(all_, 1.0, misses), 1 - tail)
    return np.where(none, 0.0, low), np.where(all_, 1.0, high)


def _share_difference(wins: Array, losses: Array, size: Array, confidence: float) -> Limits:
    """Return the difference of two shares of the same multinomial sample, with its limits."""
    (win_low, win_high), (loss_low, loss_high) = (
        clopper_pearson(share, size, confidence) for share in (wins, losses)
    )
    neither = (1 - wins) * (1 - losses)
    # Episodes that one agent wins are not lost, so the two shares are negatively correlated.
    correlation = np.where(
        wins + losses > 1 - 1e-9, 1.0, np.sqrt(wins * losses / np.maximum(neither, 1e-12))
    )
    down, up = (
        np.sqrt(mine**2 + other**2 + 2 * correlation * mine * other)
        for mine, other in (
            (wins - win_low, loss_high - losses),
            (win_high - wins, losses - loss_low),
        )
    )
    gap = wins - losses
    return Limits(gap, gap - down, gap + up)


def _discordant_shares(first: Array, second: Array) -> tuple[Array, Array]:
    """Return the shares of (episode, seed pair) that only the first and only the second solves."""
    ours, theirs = first.mean(-2), second.mean(-2)
    return (ours * (1 - theirs)).mean(-1), ((1 - ours) * theirs).mean(-1)


def _padded_variance(outcomes: Array) -> Array:
    """Return p (1 - p) with half a success and half a failure added."""
    count = outcomes.shape[-2] * outcomes.shape[-1]
    rate = (outcomes.sum((-2, -1)) + 0.5) / (count + 1)
    return rate * (1 - rate)


def _shared_correlation(outcomes: Array) -> Array:
    """Return the correlation of two seeds' outcomes in the same episode, shrunk to its prior."""
    seeds, episodes = outcomes.shape[-2:]
    if seeds == 1:
        return np.zeros(outcomes.shape[:-2])
    rate, hits = outcomes.mean((-2, -1)), outcomes.sum((-2, -1))
    ratio = outcomes.mean(-2).var(-1, ddof=1) / np.maximum(rate * (1 - rate), 1e-12)
    found = np.clip((ratio * seeds - 1) / (seeds - 1), 0, 1)
    weight = np.minimum(episodes, np.minimum(hits, seeds * episodes - hits))
    return (weight * found + _SHARED_WEIGHT * _SHARED) / (weight + _SHARED_WEIGHT)


def _rate_variance(outcomes: Array) -> _Variance:
    seeds, episodes = outcomes.shape[-2:]
    binomial, shared = _padded_variance(outcomes), _shared_correlation(outcomes)
    return _Variance(binomial, binomial * (1 + (seeds - 1) * shared) / (seeds * episodes))


def _pair_variance(first: Array, second: Array) -> _Variance:
    """Return the multinomial variance of one pair, and the variance of the mean difference."""
    episodes, fewest = first.shape[-1], min(first.shape[-2], second.shape[-2])
    wins, losses = _discordant_shares(first, second)
    count = episodes * fewest
    padded = [(share * count + 0.5) / (count + 1) for share in (wins, losses)]
    binomial = np.maximum(padded[0] + padded[1] - (padded[0] - padded[1]) ** 2, 1e-9)
    if first.shape[-2] == second.shape[-2] == 1:
        return _Variance(binomial, binomial / episodes)
    plain = wins + losses - (wins - losses) ** 2
    spread = (first.mean(-2) - second.mean(-2)).var(-1, ddof=1)
    found = np.where(plain > 1e-12, spread / np.maximum(plain, 1e-12), 1.0)
    apart = sum(_padded_variance(one) / one.shape[-2] for one in (first, second)) / binomial
    expected = _SHARED / 2 + (1 - _SHARED / 2) * np.minimum(apart, 1)
    weight = np.minimum(episodes, count * (wins + losses))
    share = (weight * np.minimum(found, 1) + _SHARED_WEIGHT * expected) / (weight + _SHARED_WEIGHT)
    return _Variance(binomial, binomial * share / episodes)


def _inflation(moments: Sequence[_Variance], agents: Sequence[Sequence[Array]]) -> Array:
    """Return the factor by which training seeds increase the variance of a task's mean.

    Args:
        moments: Moments of each stratum of the task.
        agents: For one or two agents, outcomes [..., S, E] of each stratum.
    """
    episodes = sum(moment.episodes for moment in moments) / len(moments) ** 2
    seeds = sum(
        (
            _seed_variance(cells, SEED_SPREAD[len(agents)]) / cells[0].shape[-2]
            for cells in agents
            if cells[0].shape[-2] >= FEWEST_SEEDS
        ),
        np.zeros(()),
    )
    return 1 + seeds / episodes


def _seed_variance(cells: Sequence[Array], scale: float) -> Array:
    """Return the posterior mean of the variance between seeds of a task's mean over strata."""
    seeds, count = cells[0].shape[-2], len(cells)
    means = np.mean([cell.mean(-1) for cell in cells], axis=0)
    binomial = [_padded_variance(cell) for cell in cells]
    noise = sum(
        variance * (1 - _shared_correlation(cell)) / cell.shape[-1]
        for variance, cell in zip(binomial, cells, strict=True)
    )
    slope = np.mean(binomial, axis=0)[..., None]  # of a rate with respect to its logit
    between = _SPREADS**2 * slope**2 / (1 + _SPREADS**2 * slope)
    total = between + np.asarray(noise)[..., None] / count**2
    observed = means.var(-1, ddof=1)[..., None]
    log_likelihood = -(seeds - 1) / 2 * (np.log(total) + observed / total)
    prior = np.diff(_EDGES) / (1 + (_SPREADS / scale) ** 2)
    weights = prior * np.exp(log_likelihood - log_likelihood.max(-1, keepdims=True))
    return (weights * between).sum(-1) / weights.sum(-1)
