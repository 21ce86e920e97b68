"""What evaluation sees of an agent, and the agents that need no learning.

Batch-first: B episodes side by side. One random stream an episode (``EpisodeSpec.planner_seed``), so that what happens
in an episode does not depend on which others run beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from envs.splits import EpisodeSpec


@runtime_checkable
class Agent(Protocol):
    """Anything that acts."""

    observation_keys: tuple[
        str, ...
    ]  # what it looks at: ("pixels", "goal_pixels"), ("observation", "desired_goal"), ()

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Starts B new episodes of one task, in the order in which ``act`` will see them."""
        ...

    def act(self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Returns control actions [B, A] within the bounds, for observations [B, ...]; rows that are not active are ignored."""
        ...

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """World-model (or simulator) steps spent so far in each episode [B]: candidates x horizon x iterations, summed."""
        ...
