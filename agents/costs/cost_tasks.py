"""Tasks defined by a cost instead of a goal image: go to a position, follow a path, avoid a chaser
or a zone.

Nothing is trained for these tasks. They are defined on positions in the plane [m], which a probe
reads from imagined latents (``jepabench.agents.mpc.cost_agent``). A task is a class with four
methods. ``assign`` draws the parameters of an episode, ``directions`` returns the numbers that the
cost needs now, ``cost`` scores imagined paths and ``score`` scores the executed path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.agents.costs.energy import step_weights
from jepabench.agents.costs.paths import interpolate_path, path_length
from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.world_models.settings import require_at_least

_RUNNING_WEIGHT = 0.25
_BETWEEN = 4  # substeps of a model step in the prediction of the chaser
_VIA_BATCHES = 20  # batches of random positions that are tried


@dataclass(frozen=True, slots=True)
class Assignment:
    """Parameters of a cost task in one episode [m].

    Attributes:
        path: Positions to pass in this order [K, 2]. The last one is the goal.
        hazard: Initial position of the hazard [2], or None if the task has no hazard.
    """

    path: NDArray[np.float64]
    hazard: NDArray[np.float64] | None = None


class CostTask(Protocol):
    """A task that is defined by a cost on positions."""

    def assign(
        self, env: GoalEnv, start: NDArray[np.float64], goal: NDArray[np.float64], seed: int
    ) -> Assignment:
        """Return the assignment of an episode from ``start`` [2] to ``goal`` [2]."""
        ...

    def directions(
        self, assignment: Assignment, places: Sequence[NDArray[np.float64]], horizon: int
    ) -> NDArray[np.float64]:
        """Return the numbers [P] that ``cost`` needs now.

        ``places`` [n, 2] are the positions after each model step so far; the last one is the
        present position.
        """
        ...

    def cost(self, places: Tensor, directions: Tensor) -> Tensor:
        """Return costs [B, S] of imagined positions [B, S, H, 2] after each action."""
        ...

    def score(
        self, assignment: Assignment, places: NDArray[np.float64], env: GoalEnv
    ) -> dict[str, float]:
        """Return ``success`` (0 or 1) and other scores of the executed path [T+1, 2].

        The path has one position per control step.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GoTo:
    """Go to the position of the episode's goal and stay there.

    Success is the ``held`` rule of the suite.
    """

    def assign(
        self, env: GoalEnv, start: NDArray[np.float64], goal: NDArray[np.float64], seed: int
    ) -> Assignment:
        """Return the position of the goal."""
        del env, start, seed
        return Assignment(goal[None])

    def directions(
        self, assignment: Assignment, places: Sequence[NDArray[np.float64]], horizon: int
    ) -> NDArray[np.float64]:
        """Return the goal, repeated for each step of the plan [2 * H]."""
        del places
        return np.tile(assignment.path[-1], horizon)

    def cost(self, places: Tensor, directions: Tensor) -> Tensor:
        """Return squared distances to the goal [m2]; the last step has the largest weight."""
        return _weighted_squared_distance(places, directions, _RUNNING_WEIGHT)

    def score(
        self, assignment: Assignment, places: NDArray[np.float64], env: GoalEnv
    ) -> dict[str, float]:
        """Return ``success`` and the final ``distance`` to the goal [m]."""
        there, held = env.is_success(places[1:], assignment.path[-1]), env.task.held_steps
        runs = np.convolve(there, np.ones(held, np.int64)) == held
        return {
            "success": float(runs.any()),
            "distance": float(np.linalg.norm(places[-1] - assignment.path[-1])),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowPath:
    """Follow a path to the goal through a random position that is not on the shortest path.

    An episode succeeds if every position of the path is passed, in order, within the success
    distance of the task.

    Attributes:
        pace: Speed along the path [m per model step].
        spacing: Distance between the positions to pass [m].
        detour: Minimum and maximum length of the path, relative to the shortest path.
    """

    pace: float = 0.22
    spacing: float = 0.15
    detour: tuple[float, float] = (1.25, 1.6)

    def __post_init__(self) -> None:
        if not (self.pace > 0 and self.spacing > 0 and 1 <= self.detour[0] < self.detour[1]):
            raise ValueError(
                "pace and spacing must be above 0 and 1 <= detour[0] < detour[1], got "
                f"{self.pace}, {self.spacing}, {self.detour}."
            )

    def assign(
        self, env: GoalEnv, start: NDArray[np.float64], goal: NDArray[np.float64], seed: int
    ) -> Assignment:
        """Return positions along the path through a random free position."""
        space, rng = _free_space(env), np.random.default_rng([seed, 1])
        direct = float(space.lengths(start, goal[None])[0])
        found: list[tuple[float, NDArray[np.float64]]] = []
        for _ in range(_VIA_BATCHES):
            vias = space.sample(rng)
            ratios = (space.lengths(start, vias) + space.lengths(goal, vias)) / direct
            fitting = np.flatnonzero((ratios > self.detour[0]) & (ratios < self.detour[1]))
            if len(fitting):
                via = vias[fitting[0]]
                break
            off = np.abs(ratios - sum(self.detour) / 2)
            found.append((float(off.min()), vias[off.argmin()]))
        else:
            via = min(found, key=lambda pair: pair[0])[1]
        bends = np.vstack([start, space.path(start, via), space.path(via, goal)])
        return Assignment(
            interpolate_path(
                bends, np.arange(self.spacing, path_length(bends), self.spacing), end=True
            )
        )

    def directions(
        self, assignment: Assignment, places: Sequence[NDArray[np.float64]], horizon: int
    ) -> NDArray[np.float64]:
        """Return the target position after each step of the plan [2 * H]."""
        bends = np.vstack([places[0], assignment.path])
        done = 0.0
        for place in places:  # progress never decreases, and is limited by the pace
            reachable = done + np.linspace(0.0, 2 * self.pace, 9)
            done = float(
                reachable[
                    np.linalg.norm(interpolate_path(bends, reachable) - place, axis=1).argmin()
                ]
            )
        return interpolate_path(bends, done + self.pace * np.arange(1.0, horizon + 1.0)).reshape(-1)

    def cost(self, places: Tensor, directions: Tensor) -> Tensor:
        """Return squared distances from the path [m2]; all steps have the same weight."""
        return _weighted_squared_distance(places, directions, 1.0)

    def score(
        self, assignment: Assignment, places: NDArray[np.float64], env: GoalEnv
    ) -> dict[str, float]:
        """Return ``success`` and the ``passed`` share of the positions of the path."""
        passed = 0
        for place in places:
            while passed < len(assignment.path) and bool(
                env.is_success(place, assignment.path[passed])
            ):
                passed += 1
        return {
            "success": float(passed == len(assignment.path)),
            "passed": passed / len(assignment.path),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AvoidChaser:
    """Reach the goal without being caught by a chaser.

    The chaser moves straight towards the agent, also through walls, and is not visible. Its initial
    position is known; its later positions are predicted. An episode succeeds if the goal is reached
    and the chaser was never within ``radius`` before.

    Attributes:
        speed: Speed of the chaser [m per model step].
        radius: Distance at which the chaser catches the agent [m].
        gap: Minimum distance of the chaser's initial position from start and goal [m].
        margin: Distance that plans keep beyond the radius [m].
        weight: Weight of the squared violation of radius and margin, relative to squared metres.
    """

    speed: float = 0.08
    radius: float = 0.12
    gap: float = 0.45
    margin: float = 0.08
    weight: float = 100.0

    def __post_init__(self) -> None:
        require_at_least(
            0, speed=self.speed, radius=self.radius, margin=self.margin, weight=self.weight
        )
        if not self.gap > self.radius:
            raise ValueError(
                f"gap must be larger than radius, got gap {self.gap} and radius {self.radius}."
            )

    def assign(
        self, env: GoalEnv, start: NDArray[np.float64], goal: NDArray[np.float64], seed: int
    ) -> Assignment:
        """Return the goal and a chaser near the middle of the shortest path."""
        space, rng = _free_space(env), np.random.default_rng([seed, 2])
        bends = np.vstack([start, space.path(start, goal)])
        middle = interpolate_path(bends, np.array([path_length(bends) / 2]))[0]
        spots = np.vstack([space.sample(rng) for _ in range(4)])
        room = np.minimum(
            np.linalg.norm(spots - start, axis=1), np.linalg.norm(spots - goal, axis=1)
        )
        far = spots[room >= min(self.gap, room.max())]
        return Assignment(goal[None], far[np.linalg.norm(far - middle, axis=1).argmin()])

    def directions(
        self, assignment: Assignment, places: Sequence[NDArray[np.float64]], horizon: int
    ) -> NDArray[np.float64]:
        """Return the goal for each step and the positions of agent and chaser [2 * H + 4]."""
        assert assignment.hazard is not None
        chaser = self.chase(assignment.hazard, np.asarray(places)[1:], self.speed)[-1]
        return np.concatenate([np.tile(assignment.path[-1], horizon), places[-1], chaser])

    def cost(self, places: Tensor, directions: Tensor) -> Tensor:
        """Return squared distances to the goal [m2] plus the weighted violation."""
        now, chaser = (
            part[:, None].expand_as(places[:, :, 0]) for part in directions[:, -4:].split(2, dim=1)
        )
        breach = places.new_zeros(places.shape[:2])
        for place in places.unbind(2):
            for share in torch.linspace(0, 1, _BETWEEN + 1)[1:].tolist():
                towards = torch.lerp(now, place, share) - chaser
                apart = towards.norm(dim=-1, keepdim=True)
                chaser = chaser + towards * (
                    self.speed / _BETWEEN / apart.clamp_min(1e-9)
                ).clamp_max(1)
                near = (self.radius + self.margin - apart[..., 0]).clamp_min(0)
                breach = breach + near.square() / _BETWEEN
            now = place
        return (
            _weighted_squared_distance(places, directions[:, :-4], _RUNNING_WEIGHT)
            + self.weight * breach
        )

    def score(
        self, assignment: Assignment, places: NDArray[np.float64], env: GoalEnv
    ) -> dict[str, float]:
        """Return ``success``, ``caught`` and ``arrived``."""
        assert assignment.hazard is not None
        chasers = self.chase(assignment.hazard, places[1:], self.speed / env.task.action_block)
        apart = np.linalg.norm(chasers - places, axis=1)
        return _score_arrival(assignment, places, env, apart < self.radius, "caught")

    @staticmethod
    def chase(
        chaser: NDArray[np.float64], places: NDArray[np.float64], speed: float
    ) -> NDArray[np.float64]:
        """Return positions [T+1, 2] of a chaser that follows an agent at ``places`` [T, 2].

        The chaser moves at most ``speed`` metres per entry.
        """
        way = [np.asarray(chaser, np.float64)]
        for place in places:
            towards = place - way[-1]
            way.append(
                way[-1] + towards * min(1.0, speed / max(float(np.linalg.norm(towards)), 1e-9))
            )
        return np.stack(way)


@dataclass(frozen=True, slots=True, kw_only=True)
class AvoidZone:
    """Reach the goal without entering a disc on the shortest path.

    The disc lies where the space around the path is widest. An episode succeeds if the goal is
    reached and the agent was not in the zone at any control step before.

    Attributes:
        radius: Radius of the disc [m].
        offset: Distance of its centre from the shortest path, in units of the radius.
        margin: Distance that plans keep beyond the radius [m].
        weight: Weight of the squared violation of radius and margin, relative to squared metres.
    """

    radius: float = 0.12
    offset: float = 0.5
    margin: float = 0.05
    weight: float = 100.0

    def assign(
        self, env: GoalEnv, start: NDArray[np.float64], goal: NDArray[np.float64], seed: int
    ) -> Assignment:
        """Return the goal and the centre of the zone."""
        space, rng = _free_space(env), np.random.default_rng([seed, 3])
        bends = np.vstack([start, space.path(start, goal)])
        places = interpolate_path(bends, path_length(bends) * np.linspace(0.25, 0.75, 11))
        spots = np.vstack([space.sample(rng) for _ in range(4)])
        apart = np.linalg.norm(spots - places[:, None], axis=2)
        widest = int((apart < 3 * self.radius).sum(1).argmax())
        ahead = places[min(widest + 1, 10)] - places[min(widest, 9)]
        aside = np.array([-ahead[1], ahead[0]]) / max(float(np.linalg.norm(ahead)), 1e-9)
        return Assignment(goal[None], places[widest] + self.offset * self.radius * aside)

    def directions(
        self, assignment: Assignment, places: Sequence[NDArray[np.float64]], horizon: int
    ) -> NDArray[np.float64]:
        """Return the goal for each step and the centre of the zone [2 * H + 2]."""
        del places
        assert assignment.hazard is not None
        return np.concatenate([np.tile(assignment.path[-1], horizon), assignment.hazard])

    def cost(self, places: Tensor, directions: Tensor) -> Tensor:
        """Return squared distances to the goal [m2] plus the weighted violation."""
        apart = (places - directions[:, None, None, -2:]).norm(dim=-1)
        breach = (self.radius + self.margin - apart).clamp_min(0).square().sum(2)
        return (
            _weighted_squared_distance(places, directions[:, :-2], _RUNNING_WEIGHT)
            + self.weight * breach
        )

    def score(
        self, assignment: Assignment, places: NDArray[np.float64], env: GoalEnv
    ) -> dict[str, float]:
        """Return ``success``, ``entered`` and ``arrived``."""
        assert assignment.hazard is not None
        apart = np.linalg.norm(places - assignment.hazard, axis=1)
        return _score_arrival(assignment, places, env, apart < self.radius, "entered")


def _weighted_squared_distance(places: Tensor, directions: Tensor, running_weight: float) -> Tensor:
    """Return the weighted sum of squared distances [B, S] between ``places`` and the targets."""
    horizon = places.shape[2]
    wanted = directions.view(len(directions), 1, horizon, 2)
    weights = step_weights(horizon, when="running", running_weight=running_weight, k=1).to(places)
    return ((places - wanted).square().sum(-1) * weights).sum(2)


def _score_arrival(
    assignment: Assignment,
    places: NDArray[np.float64],
    env: GoalEnv,
    broken: NDArray[np.bool_],
    what: str,
) -> dict[str, float]:
    """Return the scores ``arrived``, ``what`` and ``success`` of an executed path [T+1, 2].

    ``what`` is 1 if the rule was ``broken`` [T+1] at any step up to the arrival.
    """
    there = np.append(np.flatnonzero(env.is_success(places, assignment.path[-1])), len(places))[0]
    arrived, spoilt = bool(there < len(places)), bool(broken[: there + 1].any())
    return {
        "success": float(arrived and not spoilt),
        what: float(spoilt),
        "arrived": float(arrived),
    }


def draw_assignment(task: CostTask, env: GoalEnv, spec: EpisodeSpec) -> Assignment:
    """Reset ``env`` to an episode and return the assignment of a task for it."""
    observation, _ = reset_to(env, spec)
    start, goal = (
        np.asarray(observation[key], np.float64)[:2] for key in ("achieved_goal", "desired_goal")
    )
    return task.assign(env, start, goal, spec.planner_seed)


def _free_space(env: GoalEnv) -> FreeSpace:
    space = env.free_space
    if space is None:
        raise ValueError(f"{env.task.id} has no free_space: this task needs a maze or a table.")
    return space
