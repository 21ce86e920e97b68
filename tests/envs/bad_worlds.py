"""Worlds that each break one promise, for the tests of the checker. Registered when a test imports them, never in the suite."""

import numpy as np
from tiny_world import TinyWorld

from jepabench.envs.core import EpisodeDraw
from jepabench.envs.registry import TaskSpec, register

counter = iter(range(10**9))


class Global(TinyWorld):
    def _draw_episode(self, rng, *, stratum, split):
        jump = next(counter) % 100 / 1000  # something that lives longer than an episode
        draw = super()._draw_episode(rng, stratum=stratum, split=split)
        return EpisodeDraw(draw.start * 0.9 + jump, draw.goal, draw.reference_steps)


class Hashed(TinyWorld):
    def _step_physics(self, action):
        super()._step_physics(action * (hash("another in each process") % 1000 / 1000))


class Forgetful(TinyWorld):
    speed = 0.0

    def _begin(self, draw):
        self.speed = np.zeros(2)
        super()._begin(draw)

    def _step_physics(self, action):
        self.speed = 0.9 * self.speed + 0.1 * action
        super()._step_physics(self.speed)


class Scalar(TinyWorld):
    def distance(self, achieved_goal, desired_goal):
        return np.sqrt(np.sum((np.asarray(achieved_goal) - desired_goal) ** 2))


class Solved(TinyWorld):
    def _step_physics(self, action):
        self._position = self._position + 0.5 * (self._desired_goal - self._position)


class Impossible(TinyWorld):
    def _step_physics(self, action):
        super()._step_physics(0.01 * action)


class Lenient(TinyWorld):
    def _checked(self, action):
        return np.nan_to_num(np.resize(action, 2))


class Unstable(TinyWorld):
    def _step_physics(self, action):
        super()._step_physics(action)
        if self._num_steps == 30:
            self._position = self._position * np.nan


class Blind(TinyWorld):
    def _frame(self, size):
        return np.zeros((size, size, 3), np.uint8)


class Leaky(TinyWorld):
    def _draw_episode(self, rng, *, stratum, split):
        draw = super()._draw_episode(rng, stratum=stratum, split=split)
        world = {"layout": rng.integers(2, size=1)}
        return EpisodeDraw(draw.start, draw.goal, draw.reference_steps, world)


class Broken(TinyWorld):
    def __init__(self, task, **kwargs):
        raise OSError("the mesh file is missing")


class Falls(TinyWorld):
    def _step_physics(self, action):
        raise ZeroDivisionError("the solver gave up")


WORLDS = {world.__name__: world for world in (TinyWorld, *TinyWorld.__subclasses__())}

for name in WORLDS:
    register(
        TaskSpec(
            id=f"bad/{name}-v0",
            family="bad",
            entry_point=f"bad_worlds:{name}",
            control_dt=0.1,
            max_steps=60,
            strata=("near", "far"),
            success="the point is within 0.2 of the goal",
            behaviours={"random": "tiny_world:Random", "expert": "tiny_world:Expert"},
            physics="none",
        )
    )
