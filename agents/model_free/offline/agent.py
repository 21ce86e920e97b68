"""The agent that acts with an offline policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.agents.base import ActionQueue, check_specs
from jepabench.agents.model_free.offline.policy import GoalPolicy
from jepabench.agents.model_free.offline.training import load_policy, make_features
from jepabench.envs.registry import get_task
from jepabench.envs.splits import EpisodeSpec
from jepabench.world_models.training.devices import find_device


class OfflineAgent:
    """Acts with an offline policy, which decides at each block boundary.

    Args:
        task_id: Id of the task.
        policy: Folder that ``train_policy`` wrote.
        world_model: Folder of the frozen model, for a policy that was trained on its latents.
        pixels: Whether the policy was trained on frames.
        device: Device of the policy and the frozen model, "cpu", "cuda" or "mps".

    Raises:
        ValueError: The folder holds a policy of another algorithm, task or input, or a policy on
            the latents of another model. Or PyTorch sees no such GPU.
        UnknownNameError: There is no such device.
    """

    policy_type: ClassVar[type[GoalPolicy]]

    def __init__(
        self,
        *,
        task_id: str,
        policy: Path,
        world_model: Path | None = None,
        pixels: bool = False,
        device: str = "cpu",
    ) -> None:
        self.task, self.device = get_task(task_id), find_device(device)
        self._features = make_features(self.task.id, world_model, pixels).to(self.device)
        self.policy = load_policy(
            policy,
            [self.policy_type],
            task_id=self.task.id,
            inputs=self._features.inputs,
            world_model=world_model,
        ).to(self.device)
        self.observation_keys: tuple[str, ...] = self._features.observation_keys
        self._queue = ActionQueue(task=self.task)
        OfflineAgent.reset(self, ())  # not the method of a subclass, which is not complete yet

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        check_specs(self.task, specs)
        self._queue.reset(len(specs))
        self._goals: dict[int, Tensor] = {}
        self._recent: dict[int, Tensor] = {}

    @torch.no_grad()
    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return control actions [B, A]."""
        # Not batched, because matrix products round differently for other batch sizes.
        for episode in self._queue.empty(active):
            if episode not in self._goals:
                self._goals[episode] = self._features.goal(observations, episode)
            now = self._stack_history(observations, episode)
            self._plan_block(episode, now, self._goals[episode])
        return self._queue.take(active)

    def _stack_history(self, observations: Mapping[str, NDArray[Any]], episode: int) -> Tensor:
        """Return the inputs at the last block boundaries [1, D], newest last."""
        now = self._features.now(observations, episode)
        before = self._recent.get(episode, torch.cat([now] * self.policy.history, dim=1))
        self._recent[episode] = torch.cat([before[:, now.shape[1] :], now], dim=1)
        return self._recent[episode]

    def _plan_block(self, episode: int, now: Tensor, goal: Tensor) -> None:
        """Queue the next block of an episode."""
        scale = self.policy.action_scale
        block = self.policy.decide(now, goal) * scale.std + scale.mean
        self._queue.put(episode, block.cpu().numpy())

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zeros [B], since the policy has no world model."""
        return np.zeros(len(self._queue.steps), dtype=np.int64)
