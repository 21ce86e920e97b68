"""Worlds, and the state-action-next-state data they make. ``import envs`` registers every task; it never imports torch."""

from envs import manipulation as _manipulation  # noqa: F401
from envs import maze as _maze  # noqa: F401  (registers its tasks)
from envs import navigation as _navigation  # noqa: F401
from envs import particles as _particles  # noqa: F401
from envs import pusht as _pusht  # noqa: F401
from envs.behaviour import Behaviour
from envs.core import ActionBlock, GoalEnv, InvalidActionError, Observation, reset_to
from envs.registry import TaskSpec, UnknownNameError, get_task, list_tasks, make, register
from envs.splits import EpisodeSpec, episode_specs
from envs.state import EpisodeDraw, State

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
