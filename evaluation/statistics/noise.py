"""How much of the variance of success comes from the planner's own noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jepabench.evaluation.statistics.intervals import StatisticsError, check_scores


class NoiseShare(NamedTuple):
    """The variance of success between noise streams.

    Attributes:
        share: Share of the variance of an episode's outcome, 0 to 1; NaN if all outcomes are equal.
        deviation: Standard deviation that noise alone gives the success rate over all episodes.
        changed: Share of the episodes whose outcome differs between streams.
    """

    share: float
    deviation: float
    changed: float


def noise_share(outcomes: ArrayLike) -> NoiseShare:
    """Return the share of planner noise in the variance of success.

    Args:
        outcomes: Success [N, E] of one agent with the same weights in N noise streams
            (``EpisodeSpec.noise_stream``), on the same E episodes.

    Raises:
        StatisticsError: Fewer than two streams or episodes.
    """
    array = check_scores(outcomes)
    if array.ndim != 2 or min(array.shape) < 2:
        raise StatisticsError(
            f"Outcomes must be [streams, episodes] with at least 2 of both, got {array.shape}."
        )
    within = float(array.var(axis=0, ddof=1).mean())
    streams, episodes = array.shape
    between = max(0.0, float(array.mean(axis=0).var(ddof=1)) - within / streams)
    total = within + between
    return NoiseShare(
        share=within / total if total > 0 else float("nan"),
        deviation=float(np.sqrt(within / episodes)),
        changed=float((array != array[0]).any(axis=0).mean()),
    )
