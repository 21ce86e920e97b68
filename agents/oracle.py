"""MPC in the true simulator instead of a learned model.

This agent is privileged. It is the upper reference for the search. Its differences to the state
twin and to latent models show the contributions of dynamics and representation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.agents.base import ActionQueue, check_specs
from jepabench.agents.costs.energy import GoalDistance, step_weights
from jepabench.agents.planners.base import Planner
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.receding_horizon import RecedingHorizon
from jepabench.agents.scripted import make_simulators
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.registry import get_task
from jepabench.envs.splits import EpisodeSpec


class OracleMPCAgent:
    """Model predictive control in a copy of the simulator, towards the true goal.

    The cost of a plan is the true distance after each model step. In worlds with walls, it is the
    length of the shortest path (``path_distance``) instead of the straight line. The caller must
    execute exactly the actions that the agent returns, because the copies of the simulator execute
    them too.

    Args:
        task_id: Id of the task.
        planner: Planner that searches for actions. Actions are normalised with the mean and the
            standard deviation of the uniform distribution within the bounds.
        when, running_weight, k: Weights of the steps of a plan; see ``GoalDistance``.
        execute_steps, warm_start: See ``RecedingHorizon``.
    """

    observation_keys: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        task_id: str,
        planner: Planner | None = None,
        when: str = "running",
        running_weight: float = 0.25,
        k: int = 3,
        execute_steps: int = 1,
        warm_start: bool = True,
    ) -> None:
        self.task = get_task(task_id)
        planner = planner or CEMPlanner()
        GoalDistance(when=when, running_weight=running_weight, k=k)  # validates the values
        self._weights = (
            step_weights(planner.horizon, when=when, running_weight=running_weight, k=k)
            .double()
            .numpy()
        )
        queue = ActionQueue(task=self.task)
        self._mean, self._std = (queue.low + queue.high) / 2, (queue.high - queue.low) / np.sqrt(12)
        self._control = RecedingHorizon(
            task=self.task,
            planner=planner,
            action_mean=self._mean,
            action_std=self._std,
            execute_steps=execute_steps,
            warm_start=warm_start,
        )
        self._envs: list[GoalEnv] = []

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        check_specs(self.task, specs)
        self._control.reset(specs)
        self._envs, observations = make_simulators(self.task.id, specs, self._envs)
        self._goals = [observation["desired_goal"] for observation in observations]

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return control actions [B, A]; episodes without queued actions plan first."""
        del observations
        for episode in self._control.queue.empty(active):
            self._control.plan(
                [episode], partial(self._cost, self._envs[episode], self._goals[episode])
            )
        actions = self._control.queue.take(active)
        for episode in np.flatnonzero(active):
            self._envs[episode].advance(actions[episode][None])
        return actions

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Simulator steps so far [B], counted in model steps."""
        return self._control.model_steps

    def _cost(self, env: GoalEnv, goal: NDArray[np.float64], actions: Tensor) -> Tensor:
        """Return the costs [1, S] of candidates [1, S, H, n * A] from the state of ``env``."""
        low, high = self._control.queue.low, self._control.queue.high
        blocks = np.clip(actions[0].double().numpy() * self._std + self._mean, low, high)
        held = blocks.reshape(*blocks.shape[:2], self.task.actions_per_block, -1)
        held = held.repeat(self.task.action_block // self.task.actions_per_block, axis=2)
        achieved = env.imagine_goals(held)
        distance = env.path_distance(achieved)
        if distance is None:
            distance = env.distance(achieved, goal)
        return torch.from_numpy((distance * self._weights).sum(1)).to(actions)[None]
