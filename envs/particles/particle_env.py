"""What the particle tasks have in common: a pusher moves particles on a table into a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.mujoco_world.mujoco_env import MujocoEnv
from jepabench.envs.particles.clouds import as_points, chamfer_distance
from jepabench.envs.particles.table import Particles, Table
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.factors import Factor


class ParticleEnv(MujocoEnv):
    """A world whose state and goal are the positions of N particles on a table.

    Attributes:
        particles: The kind of particles.
        pusher: Name of the pusher; see ``Table``.
        particle_name: Name of one particle, for the names of the observation.
        success_distance: Chamfer distance at which the goal counts as reached [m].
        strata: Shortest and longest Chamfer distance of an episode [m], by stratum.
        shapes: Names of all shapes. The index of the goal's shape is stored with the episode.
        table: The simulation.
    """

    particles: ClassVar[Particles]
    pusher: ClassVar[str]
    particle_name: ClassVar[str]
    success_distance: ClassVar[float]
    strata: ClassVar[Mapping[str, tuple[float, float]]]
    shapes: ClassVar[Sequence[str]]

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
        self.simulation = self.table.simulation

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

    def _draw_goal(self, rng: np.random.Generator, split: str) -> tuple[str, NDArray[np.float64]]:
        """Return the name of a shape and random positions [N, 2] of the particles in it."""
        raise NotImplementedError

    def _draw_start(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return random positions [N, 2] of the particles at the start."""
        raise NotImplementedError

    def _reference_steps(self, distance: float) -> int:
        """Return the control steps that a good policy needs for a Chamfer distance [m]."""
        raise NotImplementedError

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        shortest, longest = self.strata[stratum]
        while True:
            shape, goal = self._draw_goal(rng, split)
            start = self._draw_start(rng)
            distance = float(chamfer_distance(start, goal))
            if shortest < distance <= longest:
                break
        return EpisodeDraw(
            self.table.state_at(start),
            self.table.state_at(goal),
            self._reference_steps(distance),
            {"shape": np.array(self.shapes.index(shape))},
        )

    def _observation_names(self) -> tuple[str, ...]:
        return tuple(
            f"{self.particle_name} {i // 2} {'xy'[i % 2]}" for i in range(2 * self.particles.num)
        )

    def _factors(self) -> tuple[Factor, ...]:
        return self.table.factors()

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        self.table.push(action)

    def _observation(self) -> NDArray[np.float64]:
        return self.table.places.ravel()

    def _achieved_goal(self) -> NDArray[np.float64]:
        return self.table.places.ravel()

    def _frame(self, size: int) -> NDArray[np.uint8]:
        return self.table.frame(size)
