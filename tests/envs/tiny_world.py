"""A point in a square: the smallest world, for tests of the data.

Registered when a test imports it, never in the suite.

``TINY_WORLD_TRAP=<what>:<seed>`` in the environment makes the episode of that seed go wrong.
"""

import os
import signal

import numpy as np
from gymnasium import spaces

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.registry import register
from jepabench.envs.task import EpisodeDraw, TaskSpec

TASK_ID = "tiny/Point-v0"


class TinyWorld(GoalEnv):
    def __init__(self, task, **kwargs):
        self._position = np.zeros(2)
        super().__init__(
            task,
            action_space=spaces.Box(-1, 1, (2,), np.float32),
            observation_size=2,
            goal_size=2,
            **kwargs,
        )

    def reset(self, *, seed=None, options=None):
        trap, _, trapped_seed = os.environ.get("TINY_WORLD_TRAP", "").partition(":")
        if trap and seed == int(trapped_seed):
            spring(trap)
        return super().reset(seed=seed, options=options)

    def distance(self, achieved_goal, desired_goal):
        return np.linalg.norm(np.asarray(achieved_goal) - desired_goal, axis=-1)

    def is_success(self, achieved_goal, desired_goal):
        return self.distance(achieved_goal, desired_goal) < 0.2

    def _draw_episode(self, rng, *, stratum, split):
        reach = 0.5 if stratum == "near" else 1.0
        start = rng.uniform(-1, 1, 2)
        return EpisodeDraw(start, rng.uniform(-reach, reach, 2), reference_steps=10)

    def _get_physics(self):
        return self._position

    def _set_physics(self, physics):
        self._position = np.array(physics)

    def _step_physics(self, action):
        self._position = np.clip(self._position + 0.1 * action, -1, 1)

    def _observation(self):
        return self._position.copy()

    def _achieved_goal(self):
        return self._position.copy()

    def _violated(self):
        return bool((np.abs(self._position) == 1).any())

    def _frame(self, size):
        frame = np.zeros((size, size, 3), np.uint8)
        column, row = ((self._position + 1) / 2 * (size - 1)).astype(int)
        frame[row, column] = 255
        return frame


class Random:
    def reset(self, env, rng):
        self.rng = rng

    def act(self, observation):
        return self.rng.uniform(-1, 1, 2).astype(np.float32)


class Expert(Random):
    def act(self, observation):
        return np.clip(
            10 * (observation["desired_goal"] - observation["achieved_goal"]), -1, 1
        ).astype(np.float32)


class WrongShape(Random):
    def act(self, observation):
        return np.zeros(1, np.float32)


def spring(trap):
    if trap == "raise":
        raise RuntimeError("the tiny world fell apart")
    if trap == "exit":
        os._exit(3)
    if trap == "kill-self":
        os.kill(os.getpid(), signal.SIGKILL)
    if trap == "kill-parent":
        os.kill(os.getppid(), signal.SIGKILL)
    if trap == "ctrl-c":
        os.killpg(os.getpgrp(), signal.SIGINT)  # as a terminal does: all processes get it


register(
    TaskSpec(
        id=TASK_ID,
        family="tiny",
        entry_point="tiny_world:TinyWorld",
        control_dt=0.1,
        action_block=4,
        actions_per_block=2,
        max_steps=100,
        strata=("near", "far"),
        success="within 0.2",
        behaviours={
            name: f"tiny_world:{kind}"
            for name, kind in (("random", "Random"), ("expert", "Expert"), ("broken", "WrongShape"))
        },
        default_behaviour="random",
        physics="none",
        tags=frozenset({"tiny"}),
    )
)
