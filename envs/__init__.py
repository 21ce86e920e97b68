"""Worlds, and the state-action-next-state data they make. ``import envs`` registers every task; it never imports torch."""

from envs import maze as _maze  # noqa: F401  (registers its tasks)
from envs.core import ActionBlock, Behaviour, EpisodeDraw, GoalEnv, InvalidActionError, Observation, State, reset_to
from envs.registry import TaskSpec, UnknownNameError, get_task, list_tasks, make, register
from envs.splits import EpisodeSpec, episode_specs

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
