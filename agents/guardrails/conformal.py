"""Split-conformal thresholds: a margin from held-out errors, with a promise that holds for finite
samples.

If n held-out scores and a new one are exchangeable, the new one exceeds the ceil((n + 1) (1 -
alpha))-th smallest of them with probability at most alpha (Vovk et al. 2005; Lei et al. 2018).
Nothing is assumed about their distribution. Exchangeability is all there is to the promise: scores
of one episode depend on each other, so an episode gives one score, and an agent that goes where the
data never was is promised nothing. Hence the promise is also checked where it is used.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


class TooFewScoresError(ValueError):
    """Fewer held-out scores than the promised rate needs."""


def num_scores_needed(alpha: float) -> int:
    """Return the fewest held-out scores with which a rate of ``alpha`` can be promised at all:
    ceil(1 / alpha) - 1.
    """
    return math.ceil(1 / alpha - 1e-9) - 1


def upper_threshold(scores: ArrayLike, alpha: float) -> float:
    """Return what a new score exceeds with probability at most ``alpha``.

    Args:
        scores: held-out scores, one an episode [n].
        alpha: the promised rate, 0 to 1, both excluded.

    Raises:
        TooFewScoresError: n is below ``num_scores_needed(alpha)``.
        ValueError: alpha out of range, or a score that is not a number.
    """
    values = np.sort(np.asarray(scores, np.float64).reshape(-1))
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is a rate between 0 and 1, got {alpha}.")
    if np.isnan(values).any():
        raise ValueError("Scores are numbers, got NaN.")
    rank = math.ceil((len(values) + 1) * (1 - alpha) - 1e-9)
    if rank > len(values):
        raise TooFewScoresError(
            f"A rate of {alpha:g} needs {num_scores_needed(alpha)} held-out episodes in which a "
            f"rule is broken, got {len(values)}. Collect more validation episodes, or promise less."
        )
    return float(values[rank - 1])


def lower_threshold(scores: ArrayLike, alpha: float) -> float:
    """Return what a new score falls below with probability at most ``alpha``; see
    ``upper_threshold``.
    """
    return -upper_threshold(-np.asarray(scores, np.float64), alpha)


def draw_one_per_group(groups: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the index of one random member of each group, given the group of each sample [N]."""
    order = rng.permutation(len(groups))
    _, first = np.unique(groups[order], return_index=True)
    return np.sort(order[first])
