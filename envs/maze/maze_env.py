"""The base classes of the mazes, in which a body must reach a position on the plane."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.maze.arena import Arena, moving_ball, planar_distance
from jepabench.envs.maze.layouts import Zone
from jepabench.envs.mujoco_world.mujoco_env import MujocoEnv
from jepabench.envs.variations.moving_objects import MovingObject


class MazeEnv(MujocoEnv):
    """A world whose goal is a position ``[x, y]`` of a body that moves between walls.

    Attributes:
        success_distance: Distance from the goal at which it counts as reached [m].
        free_space: The positions that the body can take.
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


class BallMazeEnv(MazeEnv):
    """A maze for a ball, with keep-out zones.

    Attributes:
        arena: Floor, walls, zones and ball.
    """

    arena: Arena

    @property
    def zones(self) -> tuple[Zone, ...]:
        """Keep-out rectangles ``(x_min, y_min, x_max, y_max)`` [m]."""
        return tuple((a, b, c, d) for a, b, c, d in self.arena.zones.tolist())

    def _moving_objects(self) -> tuple[MovingObject, ...]:
        return (moving_ball(self),)

    def _achieved_goal(self) -> NDArray[np.float64]:
        return self.arena.position

    def _violated(self) -> bool:
        return self.arena.in_zone

    def _frame(self, size: int) -> NDArray[np.uint8]:
        return self.arena.frame(size)
