"""The contract of every world: ``GoalEnv``, the hooks that a world implements, and free space."""

from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.core.goal_env import GoalEnv, Observation

__all__ = ["ActionBlock", "GoalEnv", "Observation"]
