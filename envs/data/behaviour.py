"""Scripted policies that collect data or solve a task."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.errors import unknown_name
from jepabench.envs.task import TaskSpec, load_entry_point


class Behaviour(Protocol):
    """A scripted policy that collects data or shows that a task can be solved.

    It may read the internal state of the world. It is called once for each action that is held, and
    the caller repeats the action for ``TaskSpec.hold_steps`` control steps; see ``HeldBehaviour``.
    """

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode of ``env``, which has been reset. Draw only from ``rng``."""
        ...

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the action [A] for the next ``hold_steps`` control steps, within the bounds."""
        ...


class NamedBehaviour(Behaviour, Protocol):
    """A behaviour that does not belong to the task and is passed to ``collect``.

    Its name is written to the dataset and must identify the actions: behaviours that may act
    differently need different names. The object must be picklable.
    """

    @property
    def name(self) -> str:
        """Name in the manifest of a dataset."""
        ...


class HeldBehaviour:
    """Wraps a behaviour so that it can be called at every control step.

    Attributes:
        deciding: The behaviour, which is called once for each held action.
    """

    def __init__(self, deciding: Behaviour) -> None:
        self.deciding = deciding

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode of ``env``, which has been reset."""
        self._hold, self._num_steps = env.task.hold_steps, 0
        self.deciding.reset(env, rng)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the action [A] of this control step."""
        if self._num_steps % self._hold == 0:
            self._action = self.deciding.act(observation)
        self._num_steps += 1
        return self._action.copy()


def make_behaviour(task: TaskSpec, name: str | None = None) -> HeldBehaviour:
    """Return a scripted behaviour of a task that can be called at every control step.

    Args:
        task: The task.
        name: Key of ``TaskSpec.behaviours``; by default ``TaskSpec.default_behaviour``.

    Raises:
        UnknownNameError: The task has no such behaviour.
    """
    name = name or task.default_behaviour
    if name not in task.behaviours:
        raise unknown_name(f"behaviour of {task.id}", name, task.behaviours)
    return HeldBehaviour(load_entry_point(task.behaviours[name])())
