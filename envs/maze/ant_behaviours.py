"""Scripted policies for AntMaze. They decide at every control step: a gait has to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import Observation
from jepabench.envs.core.scripted_policy import ScriptedPolicy
from jepabench.envs.maze import behaviours

__all__ = ["Expert", "RandomTorques", "Wander"]

Expert = behaviours.Expert


@dataclass(kw_only=True)
class RandomTorques(ScriptedPolicy):
    """Applies smooth random torques to all joints.

    They follow a discrete Ornstein-Uhlenbeck process and are clipped to the bounds.

    Attributes:
        persistence: Correlation between the torques of two control steps, 0 to 1.
        std: Standard deviation of a torque before clipping, in units of the action.
    """

    persistence: float = 0.8
    std: float = 0.3

    def _start(self) -> None:
        self._torques = self._rng.normal(0.0, self.std, 8)

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        del observation
        innovation = self.std * np.sqrt(1.0 - self.persistence**2)
        self._torques = self.persistence * self._torques + self._rng.normal(0.0, innovation, 8)
        return self._torques.clip(-1.0, 1.0)


@dataclass(kw_only=True)
class Wander(behaviours.Wander):
    """Trots to one random free place after another, with noise on its torques."""

    noise: float = 0.2
    reached: float = 0.7
    patience: int = 600
