"""Base class of behaviours that collect data with an MPC agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.agents.mpc.agent import MPCAgent
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.splits import EpisodeSpec


class PlanningBehaviour:
    """Collects data with an MPC agent, which is built in the process that uses it.

    Implements ``reset`` and ``act`` of ``jepabench.envs.data.behaviour.NamedBehaviour``. A subclass
    has a ``name`` and defines ``_build``.
    """

    _agent: MPCAgent | None = None

    def _build(self, task_id: str) -> MPCAgent:
        """Return the agent."""
        raise NotImplementedError

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode of ``env``. All randomness comes from ``rng``."""
        if self._agent is None:
            self._agent = self._build(env.task.id)
        self._task, self._rng = env.task, rng
        self._restart(self._agent)

    def _restart(self, agent: MPCAgent) -> None:
        """Forget the history and the goal of the agent."""
        # The spec only provides a random stream.
        index = int(self._rng.integers(2**31))
        agent.reset([EpisodeSpec(self._task.id, "train", self._task.strata[0], index)])

    def act(self, observation: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return the action [A] to hold.

        Observations within a block may lack pixels, because the agent does not read them.

        Raises:
            RuntimeError: ``reset`` has not been called.
        """
        if self._agent is None:
            raise RuntimeError("Call reset() first.")
        seen = {key: np.asarray(value)[None] for key, value in observation.items()}
        # The agent counts control steps, and each action is held for several of them.
        active = np.ones(1, np.bool_)
        actions = [self._agent.act(seen, active)[0] for _ in range(self._task.hold_steps)]
        return actions[0]

    def __getstate__(self) -> dict[str, Any]:
        built = {"_agent", "_task", "_rng"}
        return {key: value for key, value in self.__dict__.items() if key not in built}
