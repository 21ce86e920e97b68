"""TwoRoom with a wind that nobody can foresee: what a world looks like in which a prediction has to be more than one.

Registers ``TwoRoom-Windy-v0``; name it ``windy_room:TwoRoom-Windy-v0`` from this folder.
"""

import dataclasses

import numpy as np

from jepabench.envs.maze.two_room import TwoRoom
from jepabench.envs.registry import get_task, register

WIND = 0.5  # of the longest displacement by an action


class WindyRoom(TwoRoom):
    """Each block of control steps has a wind of its own: up or down, by the toss of a coin."""

    def _step_physics(self, action) -> None:
        if self._num_steps % self.task.action_block == 0:
            self._wind = WIND * self.np_random.choice([-1.0, 1.0])
        # Walls stop the wind as they stop the ball, so it comes in by the action, which is shortened to 1 beforehand.
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
