"""Worlds, and the state-action-next-state data they make. ``import envs`` registers every task; it never imports torch."""

from jepabench.envs import manipulation as _manipulation  # noqa: F401
from jepabench.envs import maze as _maze  # noqa: F401  (registers its tasks)
from jepabench.envs import navigation as _navigation  # noqa: F401
from jepabench.envs import particles as _particles  # noqa: F401
from jepabench.envs import pusht as _pusht  # noqa: F401
from jepabench.envs.core import ActionBlock, GoalEnv, InvalidActionError, Observation, reset_to
from jepabench.envs.data.behaviour import Behaviour
from jepabench.envs.registry import (
    TaskSpec,
    UnknownNameError,
    get_task,
    list_tasks,
    make,
    register,
)
from jepabench.envs.splits import EpisodeSpec, episode_specs
from jepabench.envs.state import EpisodeDraw, State

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
    "register",
    "reset_to",
]
