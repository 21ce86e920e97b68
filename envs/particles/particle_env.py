"""What the particle tasks have in common: a pusher moves particles on a table into a shape."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.particles.clouds import as_points, chamfer_distance
from jepabench.envs.particles.table import Particles, Table
from jepabench.envs.task import TaskSpec
from jepabench.envs.variations.factors import Factor


class ParticleEnv(GoalEnv):
    """A world whose state and goal are the positions of N particles on a table.

    Attributes:
        particles: the kind of particles.
        pusher: name of the pusher; see ``Table``.
        success_distance: Chamfer distance at which the goal counts as reached [m].
        table: the simulation.
    """

    particles: ClassVar[Particles]
    pusher: ClassVar[str]
    success_distance: ClassVar[float]

    def __init__(self, task: TaskSpec, **kwargs: Any) -> None:
        size = 2 * self.particles.num
        super().__init__(
            task,
            action_space=spaces.Box(-1.0, 1.0, (4,), np.float32),
            observation_size=size,
            goal_size=size,
            **kwargs,
        )
        self.table = Table(self.particles, pusher=self.pusher)

    def distance(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the Chamfer distance from particles to goal [m], [..., 2 * N] to [...]."""
        return chamfer_distance(as_points(achieved_goal), as_points(desired_goal))

    def is_success(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return whether the particles are close to the goal, [..., 2 * N] to [...]."""
        return self.distance(achieved_goal, desired_goal) <= self.success_distance

    def _factors(self) -> tuple[Factor, ...]:
        return self.table.factors()

    def _get_physics(self) -> NDArray[np.float64]:
        return self.table.simulation.get_state()

    def _set_physics(self, physics: NDArray[np.float64]) -> None:
        self.table.simulation.set_state(physics)

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        self.table.push(action)

    def _observation(self) -> NDArray[np.float64]:
        return self.table.places.ravel()

    def _achieved_goal(self) -> NDArray[np.float64]:
        return self.table.places.ravel()

    def _frame(self, size: int) -> NDArray[np.uint8]:
        return self.table.frame(size)
