"""Scripted policies for the rooms. Each decides once a block, as a planner of the task has to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.scripted_policy import PathPolicy, ScriptedPolicy, Wanderer
from jepabench.envs.navigation.rooms import wrap_angle

if TYPE_CHECKING:
    from jepabench.envs.core.goal_env import Observation
    from jepabench.envs.navigation.rooms import Rooms

_ARRIVED = 0.1  # [m]
_BEND_REACHED = 0.05  # [m]
_MAX_BEARING = 0.4  # beyond it the robot turns on the spot [rad]


@dataclass(kw_only=True)
class RandomDrive(ScriptedPolicy):
    """Drives and turns at smooth random rates, mostly forwards.

    The rates follow discrete Ornstein-Uhlenbeck processes.

    Near a wall it turns on the spot until the view is free, but not always before it hits:
    otherwise half of the frames would show nothing but a wall, or none of them a collision.

    Attributes:
        persistence: Correlation between the actions of two blocks, 0 to 1.
        mean: Mean of an action before clipping.
        std: Standard deviation of an action before clipping.
        view: Distance at which something ahead counts as near [m].
        attention: Probability to turn, in a block with something near ahead.
        turning_blocks: Most blocks for which it turns even if the view is free before.
    """

    persistence: float = 0.7
    mean: tuple[float, float] = (0.5, 0.0)
    std: float = 0.6
    view: float = 0.6
    attention: float = 0.6
    turning_blocks: int = 3

    def _start(self) -> None:
        self._deviation = self._rng.normal(0.0, self.std, 2)
        self._turning, self._turn = 0, 0.0

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        innovation = self.std * np.sqrt(1.0 - self.persistence**2)
        self._deviation = self.persistence * self._deviation + self._rng.normal(0.0, innovation, 2)
        near = self._is_near_wall(observation["achieved_goal"])
        if self._turning:
            self._turning = max(self._turning - 1, int(near))
        elif near and self._rng.random() < self.attention:
            self._turning = int(self._rng.integers(1, self.turning_blocks + 1))
            self._turn = float(self._rng.choice([-1.0, 1.0]))
        if self._turning:
            return np.array([0.0, self._turn])
        return (np.array(self.mean) + self._deviation).clip(-1.0, 1.0)

    def _is_near_wall(self, pose: NDArray[np.float64]) -> bool:
        space = self._env.free_space
        here = space.nearest(pose[:2])
        ahead = here + self.view * pose[2:]
        return not (space.contains(ahead[None])[0] and space.visible(here, ahead))


class _PathFollower(PathPolicy):
    """Follows the shortest path to a position, and chooses another one if blocked."""

    _env: Rooms

    @property
    def _position(self) -> NDArray[np.float64]:
        return self._env.position

    def _set_out(self, goal: NDArray[np.float64]) -> None:
        space, self._place, self._expected = self._env.free_space, self._position, 0.0
        self._path = space.path(space.nearest(self._place), goal)

    def _follow(self) -> NDArray[np.float64]:
        """Return the action [2] that turns to the next corner of the path and drives there."""
        here = self._position
        if np.linalg.norm(here - self._place) < 0.5 * self._expected:
            self._set_out(self._path[-1])
        while len(self._path) > 1 and self._is_past(self._path[0], self._path[1]):
            self._path = self._path[1:]
        x, y = self._path[0] - here
        bearing = wrap_angle(float(np.arctan2(y, x)) - self._env.heading)
        action = self._scale_action(np.hypot(x, y) if abs(bearing) < _MAX_BEARING else 0.0, bearing)
        self._place, self._expected = here, action[0] * self._env.step_length * self._hold
        return action

    def _is_past(self, bend: NDArray[np.float64], following: NDArray[np.float64]) -> bool:
        space, here = self._env.free_space, self._position
        return bool(
            np.linalg.norm(bend - here) < _BEND_REACHED
            or space.visible(space.nearest(here), following)
        )

    def _scale_action(self, way: float, turn: float) -> NDArray[np.float64]:
        """Return the action [2], held for a block, for a displacement [m] and a turn [rad]."""
        steps = np.array([way / self._env.step_length, turn / self._env.step_turn])
        return (steps / self._hold).clip(-1.0, 1.0)


class Expert(_PathFollower):
    """Takes the shortest path to the goal and turns to the goal's heading there."""

    def _start(self) -> None:
        self._path = np.empty((0, 2))

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        x, y, cos, sin = observation["desired_goal"]
        goal = np.array([x, y])
        if np.linalg.norm(goal - self._position) < _ARRIVED:
            return self._scale_action(
                0.0, wrap_angle(float(np.arctan2(sin, cos)) - self._env.heading)
            )
        if not len(self._path):
            self._set_out(goal)
        return self._follow()


@dataclass(kw_only=True)
class Wander(_PathFollower, Wanderer):
    """Drives along shortest paths; see ``Wanderer``."""

    reached: float = 0.3
    patience: int = 60
