"""Add an unpredictable wind to TwoRoom, so that a state has more than one possible successor.

Registers ``TwoRoom-Windy-v0``. From this folder, its name is ``windy_room:TwoRoom-Windy-v0``.
"""

import dataclasses

import numpy as np

from jepabench.envs.maze.two_room import TwoRoom
from jepabench.envs.registry import get_task, register

WIND = 0.5  # fraction of the longest displacement by an action


class WindyRoom(TwoRoom):
    """Blow up or down at random, with one direction per block of control steps."""

    def _step_physics(self, action) -> None:
        if self._num_steps % self.task.action_block == 0:
            self._wind = WIND * self.np_random.choice([-1.0, 1.0])
        # Walls stop the wind as they stop the ball, so the wind is added to the action, whose
        # length is first limited to 1.
        moved = np.asarray(action, np.float64) / max(1.0, float(np.linalg.norm(action)))
        whole = self.step_length
        self.step_length = whole * (1 + WIND)
        super()._step_physics((moved + np.array([0.0, self._wind])) / (1 + WIND))
        self.step_length = whole


register(
    dataclasses.replace(
        get_task("jepabench/TwoRoom-v1"),
        id="TwoRoom-Windy-v0",
        entry_point="windy_room:WindyRoom",
        tags=frozenset({"navigation", "stochastic"}),
    )
)
