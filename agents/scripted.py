"""Agents that follow a scripted behaviour of a task in a simulator of their own.

These agents are privileged: they see the true state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.agents.base import check_specs
from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec, reset_to


class ScriptedAgent:
    """Follow a behaviour of the task. The expert is the upper reference of success rates.

    Behaviours read the simulator, to which agents have no access during evaluation. The agent
    therefore keeps a copy of the simulator for each episode and steps it with the actions that it
    returns. The caller must execute exactly these actions.

    Args:
        task_id: Id of the task.
        behaviour: Name in ``TaskSpec.behaviours``.
    """

    observation_keys: tuple[str, ...] = ()

    def __init__(self, *, task_id: str, behaviour: str = "expert") -> None:
        self.task = get_task(task_id)
        self._name = behaviour
        make_behaviour(self.task, behaviour)  # raises an error if the name is unknown
        self._envs: list[GoalEnv] = []

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        check_specs(self.task, specs)
        self._envs, self._observations = make_simulators(self.task.id, specs, self._envs)
        self._behaviours = [make_behaviour(self.task, self._name) for _ in specs]
        for behaviour, env, spec in zip(self._behaviours, self._envs, specs, strict=True):
            behaviour.reset(env, np.random.default_rng(spec.planner_seed))

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return control actions [B, A]."""
        del observations
        actions = np.zeros((len(self._envs), *self._envs[0].action_space.shape), dtype=np.float32)
        for episode in np.flatnonzero(active):
            env = self._envs[episode]
            action = self._behaviours[episode].act(self._observations[episode])
            actions[episode] = np.clip(action, env.action_space.low, env.action_space.high)
            self._observations[episode] = env.step(actions[episode])[0]
        return actions

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zero [B]: the agent uses no model."""
        return np.zeros(len(self._envs), dtype=np.int64)


def make_simulators(
    task_id: str, specs: Sequence[EpisodeSpec], spare: Sequence[GoalEnv] = ()
) -> tuple[list[GoalEnv], list[Observation]]:
    """Return one simulator per episode, without pixels, and the first observations.

    The environments in ``spare`` are reused before new ones are made.
    """
    envs = [*spare[: len(specs)], *(make(task_id) for _ in range(len(specs) - len(spare)))]
    return envs, [reset_to(env, spec)[0] for env, spec in zip(envs, specs, strict=True)]
