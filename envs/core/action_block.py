"""Step an environment at the rate of a world model."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv, Observation


class ActionBlock(gymnasium.Wrapper[Observation, NDArray[Any], Observation, NDArray[Any]]):
    """A wrapper whose steps are action blocks of ``TaskSpec.action_block`` control steps.

    An action [actions_per_block * A] concatenates the distinct actions of the block. Each is held
    for ``TaskSpec.hold_steps`` control steps. Observation, reward, ``truncated`` and info are those
    after the last control step of the block.

    Attributes:
        goal_env: The wrapped environment.
        num_actions: Distinct actions in a block.
        hold: Control steps for which each action is held.
    """

    def __init__(self, env: GoalEnv) -> None:
        super().__init__(env)
        self.goal_env = env
        self.num_actions = env.task.actions_per_block
        self.hold = env.task.hold_steps
        low, high = env.action_space.low, env.action_space.high
        self.action_space = spaces.Box(
            np.tile(low, self.num_actions), np.tile(high, self.num_actions), dtype=np.float32
        )

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one block of control steps."""
        actions = np.asarray(action).reshape(self.num_actions, -1).repeat(self.hold, axis=0)
        return self.goal_env.advance(actions)

    def compute_reward(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any], info: Any
    ) -> NDArray[np.float64]:
        """Return ``GoalEnv.compute_reward``. HER calls it on the outermost wrapper."""
        return self.goal_env.compute_reward(achieved_goal, desired_goal, info)
