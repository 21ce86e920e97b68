"""Scripted policies: what they promise, and who holds what they decide."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.errors import unknown_name
from jepabench.envs.task import TaskSpec, load_entry_point


class Behaviour(Protocol):
    """A scripted policy that collects data or shows that a task can be solved.

    May look inside the world.

    It decides once for each action that is held (``TaskSpec.hold_steps`` control steps) and need
    not count them: whoever asks it holds what it says, as ``HeldBehaviour`` does.
    """

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode of ``env`` (already reset). All randomness comes from ``rng``."""
        ...

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the action [A] for the next ``hold_steps`` control steps, within the bounds."""
        ...


class NamedBehaviour(Behaviour, Protocol):
    """A behaviour that a task does not know: ``jepabench.envs.data.collect`` is given it and writes
    its name into the dataset.

    The name says what decides its actions: two behaviours that may act differently have different
        names. It can be pickled.
    """

    @property
    def name(self) -> str:
        """Its name in manifests."""
        ...


class HeldBehaviour:
    """A behaviour asked at every control step: it decides when the last decision has been held long
    enough.

    Attributes:
        deciding: the behaviour, to be asked once for each held action.
    """

    def __init__(self, deciding: Behaviour) -> None:
        self.deciding = deciding

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode of ``env`` (already reset)."""
        self._hold, self._num_steps = env.task.hold_steps, 0
        self.deciding.reset(env, rng)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the action [A] of this control step."""
        if self._num_steps % self._hold == 0:
            self._action = self.deciding.act(observation)
        self._num_steps += 1
        return self._action.copy()


def make_behaviour(task: TaskSpec, name: str | None = None) -> HeldBehaviour:
    """Make a scripted behaviour of a task, to be called at every control step.

    Args:
        task: the task.
        name: key of ``TaskSpec.behaviours``; by default the one that collects datasets.

    Raises:
        UnknownNameError: the task has no such behaviour.
    """
    name = name or task.default_behaviour
    if name not in task.behaviours:
        raise unknown_name(f"behaviour of {task.id}", name, task.behaviours)
    return HeldBehaviour(load_entry_point(task.behaviours[name])())
