"""Worlds and the transition data that they produce. Never imports torch.

Importing ``jepabench.envs`` registers every task with the suite and with Gymnasium.
"""

from jepabench.envs import manipulation as _manipulation  # noqa: F401
from jepabench.envs import maze as _maze  # noqa: F401
from jepabench.envs import navigation as _navigation  # noqa: F401
from jepabench.envs import particles as _particles  # noqa: F401
from jepabench.envs import pusht as _pusht  # noqa: F401
from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.data.behaviour import Behaviour, make_behaviour
from jepabench.envs.errors import InvalidActionError, UnknownNameError
from jepabench.envs.registry import get_task, list_tasks, make, register
from jepabench.envs.splits import EpisodeSpec, episode_specs, reset_to
from jepabench.envs.task import EpisodeDraw, State, TaskSpec

__all__ = [
    "ActionBlock",
    "Behaviour",
    "EpisodeDraw",
    "EpisodeSpec",
    "GoalEnv",
    "InvalidActionError",
    "Observation",
    "State",
    "TaskSpec",
    "UnknownNameError",
    "episode_specs",
    "get_task",
    "list_tasks",
    "make",
    "make_behaviour",
    "register",
    "reset_to",
]
