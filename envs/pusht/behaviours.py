"""Scripted policies for Push-T that need no reward and no goal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.pusht.simulation import REACH, SIZE, PushSimulation

if TYPE_CHECKING:
    from jepabench.envs.core.goal_env import GoalEnv, Observation

_NEAR = 25.0  # from a waypoint, where it counts as reached [px]
_ARC = math.pi / 3  # between two waypoints around the block [rad]
_EDGE = 20.0  # that waypoints keep from the edge of the workspace [px]

_Point = tuple[float, float]


class Table(Protocol):
    """What the policies use of the world."""

    simulation: PushSimulation

    def action_towards(self, x: float, y: float) -> NDArray[np.float32]:
        """Return the action [2] within the bounds with this target [px], or towards it."""
        ...


class Uniform:
    """Uniformly random actions.

    They are independent, so the pusher wanders and rarely meets the block.
    """

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        self._low, self._high, self._rng = env.action_space.low, env.action_space.high, rng

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return an action [2]."""
        return self._rng.uniform(self._low, self._high).astype(np.float32)


@dataclass(kw_only=True)
class RandomPushes:
    """Repeatedly moves to one side of the block and pushes through a point near its centre.

    Pushes head for random places around the middle of the workspace, so that the block does not end
    up in a corner.

    Attributes:
        spread: Radius about the centre of gravity within which a push aims [px].
        stand_off: Distance from the centre of gravity on the way to a push [px].
        follow_through: Least and greatest distance of a push beyond the point that it aims at [px].
        middle: Half the side of the square that pushes head for [px].
        speed: Least and greatest speed of a push, as the lead of the target in units of an action.
        approach_speed: Speed between pushes.
        noise: Standard deviations of the target, in units of an action; each push draws one of
            them. A model that has only seen steady pushes believes what a planner's unsteady ones
            promise.
        patience: Control steps after which a waypoint is given up.
    """

    spread: float = 45.0
    stand_off: float = 100.0
    follow_through: tuple[float, float] = (0.0, 60.0)
    middle: float = 140.0
    speed: tuple[float, float] = (0.2, 0.6)
    approach_speed: float = 0.9
    noise: tuple[float, ...] = (0.05, 0.2, 0.4, 0.7)
    patience: int = 15

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        self._table, self._rng = cast("Table", env), rng
        self._waypoints: list[_Point] = []
        self._next_waypoint()

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the next action [2]."""
        x, y = self._table.simulation.pusher
        while True:
            to_x, to_y = self._waypoints[0][0] - x, self._waypoints[0][1] - y
            distance = math.hypot(to_x, to_y)
            if distance > _NEAR and self._waited < self.patience:
                break
            self._waypoints.pop(0)
            self._next_waypoint()
        self._waited += 1
        noise_x, noise_y = self._rng.normal(0.0, REACH * self._noise, 2).tolist()
        speed = self.approach_speed if len(self._waypoints) > 1 else self._speed
        lead = min(distance, REACH * speed) / distance
        return self._table.action_towards(x + to_x * lead + noise_x, y + to_y * lead + noise_y)

    def _next_waypoint(self) -> None:
        self._waited = 0
        if not self._waypoints:
            self._choose_push()

    def _choose_push(self) -> None:
        rng, middle = self._rng, self._table.simulation.centre_of_gravity
        self._noise = self.noise[0] if len(self.noise) == 1 else float(rng.choice(self.noise))
        self._speed = rng.uniform(*self.speed)
        aim = _along(middle, rng.uniform(-math.pi, math.pi), self.spread * math.sqrt(rng.random()))
        goal_x, goal_y = rng.uniform(SIZE / 2 - self.middle, SIZE / 2 + self.middle, 2).tolist()
        heading = math.atan2(goal_y - aim[1], goal_x - aim[0])
        self._waypoints = [
            *self._way_round(middle, heading + math.pi),
            _along(aim, heading, rng.uniform(*self.follow_through)),
        ]

    def _way_round(self, middle: _Point, side: float) -> list[_Point]:
        """Return waypoints on a circle around the block, the shorter way to ``side`` [rad]."""
        x, y = self._table.simulation.pusher
        here = math.atan2(y - middle[1], x - middle[0])
        turn = math.remainder(side - here, 2.0 * math.pi)
        num_arcs = max(1, math.ceil(abs(turn) / _ARC))
        return [
            _along(middle, here + turn * arc / num_arcs, self.stand_off)
            for arc in range(1, num_arcs + 1)
        ]


def _along(start: _Point, heading: float, length: float) -> _Point:
    """Return the point at a distance along a heading [rad], clipped to the workspace."""
    x, y = start[0] + length * math.cos(heading), start[1] + length * math.sin(heading)
    return min(max(x, _EDGE), SIZE - _EDGE), min(max(y, _EDGE), SIZE - _EDGE)
