"""Scripted policies for the tasks with particles. One action is one push."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.particles.clouds import as_points, nearest
from jepabench.envs.particles.table import REACH

if TYPE_CHECKING:
    from jepabench.envs.core.goal_env import GoalEnv, Observation

Points = NDArray[np.float64]


class UniformPushes:
    """Pushes from anywhere to anywhere."""

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        del env
        self._rng = rng

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the next push [4]."""
        del observation
        return self._rng.uniform(-1.0, 1.0, 4).astype(np.float32)


@dataclass(kw_only=True)
class RandomPushes:
    """Pushes a random particle, and anything on its path, to a random position near the centre.

    Without a preference for the middle, most particles would soon lie at the rim.

    Attributes:
        run_up: Shortest and longest distance from the start of a push to the particle [m].
        spread: Standard deviation of the places where pushes end, along each axis [m].
    """

    run_up: tuple[float, float] = (0.03, 0.1)
    spread: float = 0.13

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        del env
        self._rng = rng

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the next push [4]."""
        points = as_points(observation["achieved_goal"])
        particle = points[self._rng.integers(len(points))]
        place = self._place(particle, points)
        return as_push(
            particle - self._rng.uniform(*self.run_up) * _direction(place - particle), place
        )

    def _place(self, particle: Points, points: Points) -> Points:
        """Return where a push of ``particle`` [2] ends, [2]."""
        del particle, points
        return self._rng.normal(0.0, self.spread, 2)


@dataclass(kw_only=True)
class RandomRopePushes(RandomPushes):
    """Pushes like ``RandomPushes``, or away from the rope's centre so that it does not bunch up.

    Attributes:
        away: Probability of a push away from the middle.
        length: Shortest and longest way beyond the particle in those [m].
    """

    run_up: tuple[float, float] = (0.035, 0.06)
    spread: float = 0.2
    away: float = 0.5
    length: tuple[float, float] = (0.05, 0.25)

    def _place(self, particle: Points, points: Points) -> Points:
        if self._rng.random() >= self.away:
            return super()._place(particle, points)
        return particle + self._rng.uniform(*self.length) * _direction(
            particle - points.mean(axis=0)
        )


@dataclass(kw_only=True)
class _GreedyPusher:
    """Simulates random promising pushes and makes the one that ends nearest to the goal.

    Attributes:
        num_candidates: Pushes that are tried for each one that is made.
        run_up: Shortest and longest distance from the start of a push to the particle [m].
        stop: Shortest and longest way by which a push ends before the place where the particle has
            to go [m].
        aim_std: Standard deviation of the pushes' directions [rad].
        side_std: Standard deviation of their distance to the particle's side [m].
    """

    num_candidates: int = 24
    run_up: tuple[float, float] = (0.03, 0.1)
    stop: tuple[float, float] = (0.0, 0.05)
    aim_std: float = 0.3
    side_std: float = 0.03

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        self._env, self._rng = env, rng

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the next push [4]; none once the goal is reached."""
        env, achieved, desired = (
            self._env,
            observation["achieved_goal"],
            observation["desired_goal"],
        )
        if env.is_success(achieved, desired):
            return np.zeros(4, np.float32)
        particles, places = self._choose(as_points(achieved), as_points(desired))
        pushes = self._pushes(particles, places)
        outcomes = env.imagine_goals(pushes[:, None, None])[:, 0]
        costs = env.path_distance(outcomes)
        if costs is None:
            costs = env.distance(outcomes, desired)
        return pushes[np.where(env.is_success(outcomes, desired), 0.0, costs).argmin()]

    def _pushes(self, particles: Points, places: Points) -> NDArray[np.float32]:
        """Return pushes [S, 4] that bring ``particles`` to about ``places``, [S, 2] each."""
        rng, num = self._rng, len(particles)
        ways = places - particles
        angles = np.arctan2(ways[:, 1], ways[:, 0]) + rng.normal(0.0, self.aim_std, num)
        ahead = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1) * rng.normal(
            0.0, self.side_std, (num, 1)
        )
        starts = particles - ahead * rng.uniform(*self.run_up, (num, 1)) + aside
        return as_push(starts, places - ahead * rng.uniform(*self.stop, (num, 1)) + aside)

    def _choose(self, points: Points, goal: Points) -> tuple[Points, Points]:
        """Return particles and the places where they should go, [S, 2] each."""
        raise NotImplementedError


@dataclass(kw_only=True)
class GranularExpert(_GreedyPusher):
    """Pushes chips that lie outside the shape to places that lack chips, or to near ones.

    Attributes:
        near: What counts as a near place: the width of the Gaussian weight [m].
    """

    near: float = 0.05

    def _choose(self, points: Points, goal: Points) -> tuple[Points, Points]:
        outside, lacking = nearest(points, goal)
        chips = points[_draw(outside**2, self.num_candidates, self._rng)]
        lacks = _draw(lacking**2, self.num_candidates, self._rng)
        offsets = goal - chips[:, None]
        weights = np.exp(-0.5 * (offsets * offsets).sum(axis=-1) / self.near**2)
        nears = np.array([_draw(row, 1, self._rng)[0] for row in weights])
        return chips, goal[np.where(self._rng.random(self.num_candidates) < 0.5, lacks, nears)]


@dataclass(kw_only=True)
class RopeExpert(_GreedyPusher):
    """Pushes pieces of the rope to where they belong."""

    num_candidates: int = 48
    run_up: tuple[float, float] = (0.035, 0.06)
    stop: tuple[float, float] = (-0.02, 0.05)
    side_std: float = 0.01

    def _choose(self, points: Points, goal: Points) -> tuple[Points, Points]:
        offsets = np.stack([goal - points, goal[::-1] - points])
        squares = (offsets * offsets).sum(axis=-1)
        way = int(np.sqrt(squares).mean(axis=1).argmin())
        beads = _draw(squares[way], self.num_candidates, self._rng)
        return points[beads], (points + offsets[way])[beads]


def as_push(starts: Points, ends: Points) -> NDArray[np.float32]:
    """Return pushes [..., 4] from ``starts`` to ``ends`` [..., 2] [m], clipped to the reach."""
    return (np.concatenate([starts, ends], axis=-1) / REACH).clip(-1.0, 1.0).astype(np.float32)


def _direction(way: Points) -> Points:
    return way / max(float(np.sqrt((way * way).sum())), 1e-9)


def _draw(weights: NDArray[np.float64], num: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return ``num`` indices, each drawn with a probability in proportion to ``weights`` [N]."""
    weights = weights + 1e-9
    return rng.choice(len(weights), num, p=weights / weights.sum())
