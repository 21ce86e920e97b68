"""A fast world of a point in the plane with noisy dynamics, and agents that act in it."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.registry import register
from jepabench.envs.task import EpisodeDraw, TaskSpec

POINT = TaskSpec(
    id="tests/PointWorld-v1",
    family="tests",
    entry_point="point_world:PointWorld",
    control_dt=0.1,
    max_steps=70,
    strata=("near", "far"),
    success="within 0.1 of the goal",
    behaviours={"random": "point_world:RandomStreams"},
    physics="none",
)


class PointWorld(GoalEnv):
    def __init__(self, task, **kwargs):
        bounds = spaces.Box(-1.0, 1.0, (2,), np.float32)
        super().__init__(task, action_space=bounds, observation_size=2, goal_size=2, **kwargs)
        self.position = np.zeros(2)

    def distance(self, achieved_goal, desired_goal):
        return np.linalg.norm(np.asarray(achieved_goal) - desired_goal, axis=-1)

    def is_success(self, achieved_goal, desired_goal):
        return self.distance(achieved_goal, desired_goal) < 0.1

    def _draw_episode(self, rng, *, stratum, split):
        length, steps = {"near": (0.5, 10), "far": (1.5, 30)}[stratum]
        angle = rng.uniform(0, 2 * np.pi)
        start = rng.uniform(-0.1, 0.1, 2)
        return EpisodeDraw(start, start + length * np.array([np.cos(angle), np.sin(angle)]), steps)

    def _get_physics(self):
        return self.position

    def _set_physics(self, physics):
        self.position = physics.copy()

    def _step_physics(self, action):
        self.position = self.position + 0.1 * action + self.np_random.normal(0, 0.01, 2)

    def _observation(self):
        return self.position.copy()

    def _achieved_goal(self):
        return self.position.copy()

    def _violated(self):
        return bool(abs(self.position).max() > 1.2)

    def _frame(self, size):
        return np.full((size, size, 3), int(abs(self.position[0]) * 50) % 256, np.uint8)


class RandomStreams:
    """Draws from one stream an episode; counts one model step a call and active episode."""

    observation_keys: tuple[str, ...] = ()

    def reset(self, specs):
        self.rngs = [np.random.default_rng(spec.planner_seed) for spec in specs]
        self.steps = np.zeros(len(specs), np.int64)

    def act(self, observations, active):
        self.steps += active
        return np.stack(
            [
                rng.uniform(-1, 1, 2) if on else np.full(2, np.nan)
                for rng, on in zip(self.rngs, active, strict=True)
            ]
        )

    @property
    def model_steps(self):
        return self.steps


class Greedy(RandomStreams):
    """Goes straight to the goal and stays there; keeps what it saw."""

    observation_keys = ("achieved_goal", "desired_goal")

    def reset(self, specs):
        super().reset(specs)
        self.seen = []

    def act(self, observations, active):
        self.seen.append({key: (value.dtype, value.shape) for key, value in observations.items()})
        self.steps += active
        return np.clip(
            (observations["desired_goal"] - observations["achieved_goal"]) / 0.1, -1, 1
        ).astype(np.float32)


register(POINT)
