"""What all mazes have in common: a body must reach a place on the plane."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.maze.arena import planar_distance


class MazeEnv(GoalEnv):
    """A world whose goal is a position ``[x, y]`` of a body that moves between walls.

    Attributes:
        success_distance: distance from the goal at which it counts as reached [m].
        free_space: the positions that the body can take.
    """

    success_distance: ClassVar[float]
    free_space: FreeSpace  # pyright: ignore[reportIncompatibleVariableOverride]

    def distance(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the straight-line distance from body to goal [m], [..., 2] to [...]."""
        return planar_distance(achieved_goal, desired_goal)

    def is_success(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return whether the body is near enough to the goal, [..., 2] and [..., 2] to [...]."""
        return planar_distance(achieved_goal, desired_goal) <= self.success_distance

    def path_distance(self, achieved_goal: NDArray[Any]) -> NDArray[np.float64]:
        """Return the length of the shortest path to the present goal [m], [..., 2] to [...]."""
        return self.free_space.distances(achieved_goal, self._desired_goal)
