"""Split-conformal thresholds, with a guarantee for finite samples.

If n held-out scores and a new one are exchangeable, the new one exceeds the ceil((n + 1) (1 -
alpha))-th smallest of them with probability at most alpha (Vovk et al., 2005; Lei et al., 2018).
Nothing else is assumed about their distribution. Scores of one episode depend on each other, so
each episode contributes one score. The guarantee does not cover an agent that leaves the
distribution of the data, so the rate is also measured on test episodes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


class TooFewScoresError(ValueError):
    """Raised when there are fewer held-out scores than the promised rate needs."""


def num_scores_needed(alpha: float) -> int:
    """Return the minimum number of held-out scores for a rate ``alpha``: ceil(1 / alpha) - 1."""
    return math.ceil(1 / alpha - 1e-9) - 1


def upper_threshold(scores: ArrayLike, alpha: float) -> float:
    """Return the threshold that a new score exceeds with probability at most ``alpha``.

    Args:
        scores: Held-out scores [n], one per episode.
        alpha: Promised rate, in (0, 1).

    Raises:
        TooFewScoresError: There are fewer than ``num_scores_needed(alpha)`` scores.
        ValueError: ``alpha`` is out of range, or a score is NaN.
    """
    values = np.sort(np.asarray(scores, np.float64).reshape(-1))
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}.")
    if np.isnan(values).any():
        raise ValueError("Scores must be numbers, got NaN.")
    rank = math.ceil((len(values) + 1) * (1 - alpha) - 1e-9)
    if rank > len(values):
        raise TooFewScoresError(
            f"A rate of {alpha:g} needs {num_scores_needed(alpha)} held-out episodes in which a "
            f"rule is broken, got {len(values)}. Collect more validation episodes, or raise alpha."
        )
    return float(values[rank - 1])


def lower_threshold(scores: ArrayLike, alpha: float) -> float:
    """Return the threshold that a new score falls below with probability at most ``alpha``.

    See ``upper_threshold``.
    """
    return -upper_threshold(-np.asarray(scores, np.float64), alpha)


def draw_one_per_group(groups: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the index of one random sample per group, given the group of each sample [N]."""
    order = rng.permutation(len(groups))
    _, first = np.unique(groups[order], return_index=True)
    return np.sort(order[first])
