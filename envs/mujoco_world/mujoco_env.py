"""The base class of worlds that MuJoCo simulates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.mujoco_world.simulation import Simulation


class MujocoEnv(GoalEnv):
    """A world whose physics state is that of a simulation.

    Attributes:
        simulation: The simulation, which the subclass creates.
    """

    simulation: Simulation

    def _get_physics(self) -> NDArray[np.float64]:
        return self.simulation.get_state()

    def _set_physics(self, physics: NDArray[np.float64]) -> None:
        self.simulation.set_state(physics)
