"""The hooks of a world: what a subclass of ``GoalEnv`` must implement, and what it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.factors import Factor
from jepabench.envs.variations.moving_objects import MovingObject

if TYPE_CHECKING:
    from jepabench.envs.core.free_space import FreeSpace

Observation = dict[str, NDArray[Any]]
Zone = tuple[float, float, float, float]


class World(gymnasium.Env[Observation, NDArray[Any]]):
    """Physics, goals and frames of one environment, without the bookkeeping of episodes.

    A world subclasses ``GoalEnv``, which calls these hooks. The first group is required. The second
    group is optional and has defaults.

    Attributes:
        task: The task specification.
        free_space: The places that the agent or its object can take, or None if the world does not
            describe them.
        distance_unit: Unit of ``distance``: "m", "px", or "" if it has none.
    """

    task: TaskSpec
    observation_space: spaces.Dict  # pyright: ignore[reportIncompatibleVariableOverride]
    action_space: spaces.Box  # pyright: ignore[reportIncompatibleVariableOverride]
    free_space: FreeSpace | None = None
    distance_unit: str = "m"

    # -- required ------------------------------------------------------------------------------

    def distance(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the distance to the goal in task units, [..., G] and [..., G] to [...].

        Lower is better.
        """
        raise NotImplementedError

    def is_success(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return whether the success rule holds, [..., G] and [..., G] to [...]."""
        raise NotImplementedError

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        """Draw start, goal and layout of an episode. All randomness comes from ``rng``."""
        raise NotImplementedError

    def _get_physics(self) -> NDArray[np.float64]:
        """Return the full physics state; it must determine everything that follows."""
        raise NotImplementedError

    def _set_physics(self, physics: NDArray[np.float64]) -> None:
        """Restore a state that ``_get_physics`` returned, or one from ``_draw_episode``."""
        raise NotImplementedError

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        """Simulate one control step with a valid action [A]."""
        raise NotImplementedError

    def _observation(self) -> NDArray[np.float64]:
        """Return the low-dimensional observation [O]."""
        raise NotImplementedError

    def _achieved_goal(self) -> NDArray[np.float64]:
        """Return the achieved goal [G]."""
        raise NotImplementedError

    def _frame(self, size: int) -> NDArray[np.uint8]:
        """Return the present frame, uint8 [size, size, 3]."""
        raise NotImplementedError

    # -- optional ------------------------------------------------------------------------------

    @property
    def zones(self) -> tuple[Zone, ...]:
        """Keep-out rectangles ``(x_min, y_min, x_max, y_max)`` in task units."""
        return ()

    def path_distance(self, achieved_goal: NDArray[Any]) -> NDArray[np.float64] | None:
        """Return the length of the shortest path to the present goal, [..., G] to [...].

        Privileged planners use it where obstacles make ``distance`` deceptive. None means that the
        world has no such measure; use ``distance`` then.
        """
        del achieved_goal
        return None

    def _observation_names(self) -> Sequence[str]:
        """Return the names of the entries of ``observation`` [O], or none."""
        return ()

    def _set_world(self, world: Mapping[str, NDArray[Any]]) -> None:
        """Apply a layout that ``_draw_episode`` returned as ``world``."""

    def _factors(self) -> Sequence[Factor]:
        """Return the factors of variation.

        Called once, while the world has its default values; see ``Variations.renew``.
        """
        return ()

    def _moving_objects(self) -> Sequence[MovingObject]:
        """Return the objects that events can move. Called once."""
        return ()

    def _violated(self) -> bool:
        """Return whether the last control step broke a keep-out rule."""
        return False
