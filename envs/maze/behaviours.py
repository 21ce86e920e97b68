"""Scripted policies for the mazes.

The policies of the balls decide once per action block, as a planner does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.scripted_policy import PathPolicy, ScriptedPolicy, Wanderer

if TYPE_CHECKING:
    from jepabench.envs.core.free_space import FreeSpace
    from jepabench.envs.core.goal_env import Observation

_CORNER_REACHED = 0.05  # [m]
_AT_REST = 0.1  # [m/s]


class Place(Protocol):
    """What the policies use of an arena."""

    @property
    def position(self) -> NDArray[np.float64]: ...  # noqa: D102


class Maze(Protocol):
    """What the policies that know the way use of a maze."""

    @property
    def arena(self) -> Place: ...  # noqa: D102

    free_space: FreeSpace

    def steer(self, path: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the action [A] to hold, which moves the agent along ``path`` [K, 2]."""
        ...


@dataclass(kw_only=True)
class RandomHeading(ScriptedPolicy):
    """Keeps walking in a similar direction with random step lengths.

    It sometimes turns to a random direction, and it bounces off walls.

    Without bouncing, most frames would show the ball at a wall or in a corner.

    Attributes:
        concentration: Of the von Mises noise on the heading, about 1 / variance [1/rad^2].
        turn_probability: That a block starts with a new heading.
    """

    concentration: float = 4.0
    turn_probability: float = 0.1

    def _start(self) -> None:
        self._heading = self._rng.uniform(-np.pi, np.pi)
        self._position, self._expected = np.zeros(2), np.zeros(2)

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        position = observation["achieved_goal"]
        if self._rng.random() < self.turn_probability:
            self._heading = self._rng.uniform(-np.pi, np.pi)
        else:
            stopped = np.abs(position - self._position) < 0.9 * np.abs(self._expected)
            bounced = np.where(stopped, -self._expected, self._expected)
            self._heading = np.arctan2(bounced[1], bounced[0]) if stopped.any() else self._heading
        self._heading += self._rng.vonmises(0.0, self.concentration)
        action = self._rng.uniform(0.0, 1.0) * np.array(
            [np.cos(self._heading), np.sin(self._heading)]
        )
        self._position, self._expected = (
            position,
            action * self._hold * self._env.step_length,
        )
        return action


class WithheldHeading(RandomHeading):
    """``RandomHeading`` without the pairs of position and action that its world withholds."""

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        action = self._env.withheld.redirect(
            observation["achieved_goal"], super()._decide(observation)
        )
        self._expected = action * self._hold * self._env.step_length
        return action


@dataclass(kw_only=True)
class RandomForce(ScriptedPolicy):
    """Applies a smooth random force.

    It follows a discrete Ornstein-Uhlenbeck process and is clipped to the bounds.

    Where a wall holds the ball against the force, that component turns round: otherwise most frames
    would show a ball at rest in a corner.

    Attributes:
        persistence: Correlation between the forces of two blocks, 0 to 1.
        std: Standard deviation of a force before clipping, in units of the action.
    """

    persistence: float = 0.7
    std: float = 0.7

    def _start(self) -> None:
        self._force, self._has_pushed = self._rng.normal(0.0, self.std, 2), False

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        held = np.abs(observation["observation"][2:4]) < _AT_REST
        self._force[held & self._has_pushed] *= -1.0
        self._has_pushed = True
        innovation = self.std * np.sqrt(1.0 - self.persistence**2)
        self._force = self.persistence * self._force + self._rng.normal(0.0, innovation, 2)
        return self._force.clip(-1.0, 1.0)


class _PathFollower(PathPolicy):
    """Takes the shortest path to a place."""

    _env: Maze

    @property
    def _position(self) -> NDArray[np.float64]:
        return self._env.arena.position

    def _set_out(self, goal: NDArray[np.float64]) -> None:
        space = self._env.free_space
        self._path = space.path(space.nearest(self._position), goal)

    def _follow(self) -> NDArray[np.float64]:
        space, path = self._env.free_space, self._path
        here = space.nearest(self._position)
        if len(path) > 1 and (
            np.linalg.norm(path[0] - here) < _CORNER_REACHED or space.visible(here, path[1])
        ):
            self._path = path[1:]
        elif not space.visible(here, path[0]):
            self._set_out(path[-1])
        return self._env.steer(self._path)


class Expert(_PathFollower):
    """Takes the shortest path to the goal and stops there. Keep-out zones do not keep it out."""

    def _start(self) -> None:
        self._path = np.empty((0, 2))

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        if not len(self._path):
            self._set_out(observation["desired_goal"])
        return self._follow()


class Wander(_PathFollower, Wanderer):
    """Moves the body along shortest paths; see ``Wanderer``."""
