"""The base class of the tasks of the arm."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.manipulation.arm import POSE_SIZE
from jepabench.envs.manipulation.tabletop import Tabletop
from jepabench.envs.mujoco_world.mujoco_env import MujocoEnv
from jepabench.envs.task import TaskSpec
from jepabench.envs.variations.factors import Factor


class TableEnv(MujocoEnv):
    """A world in which an arm acts on a table.

    Args:
        task: The task.
        table: The table with its arm.
        sizes: Sizes of the observation O and the goal G.

    Attributes:
        wall: Whether a wall stands across the table.
    """

    wall = False

    def __init__(
        self, task: TaskSpec, *, table: Tabletop, sizes: tuple[int, int], **kwargs: Any
    ) -> None:
        super().__init__(
            task,
            action_space=spaces.Box(-1.0, 1.0, (POSE_SIZE,), np.float32),
            observation_size=sizes[0],
            goal_size=sizes[1],
            **kwargs,
        )
        self.table, self.simulation = table, table.simulation

    def _factors(self) -> tuple[Factor, ...]:
        return self.table.factors()

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        self.table.arm.act(action)

    def _violated(self) -> bool:
        return self.wall and self.table.is_touched("wall")

    def _frame(self, size: int) -> NDArray[np.uint8]:
        return self.table.frame(size)
