"""A multi-step inverse model on frozen latents: which action leads from here to there in k steps? Acting without planning.

If the latent is good enough to plan with, this asks whether the plan was needed at all. The model is conditioned on the
number of steps k (as GC-IDM is, on latents of LeWM). How far a goal is, an agent does not know; a second head learns to
say it from the same pairs, and acting takes the fast end of its answer, since the data dawdles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from agents.model_free.offline import GoalPolicy, OfflineAgent, OfflineConfig, Standardise, mlp, train_policy

NAME = "inverse"
FAST_QUANTILE = 0.1


class InversePolicy(GoalPolicy):
    """Normalised model-step actions from now [N, D], goal [N, D'] and the steps between."""

    def __init__(self, now_size: int, goal_size: int, action_size: int, config: OfflineConfig) -> None:
        super().__init__()
        self.now_scale, self.goal_scale = Standardise(now_size), Standardise(goal_size)
        self.action_scale = Standardise(action_size)
        self.max_steps = config.max_goal_steps
        self.network = mlp(now_size + goal_size + self.max_steps, action_size, config)
        self.distance = mlp(now_size + goal_size, self.max_steps, config)

    def loss(self, now: Tensor, goal: Tensor, action: Tensor, steps: Tensor) -> Tensor:
        """Returns the mean squared error of the action given the steps, plus the cross-entropy of the steps."""
        pair = self._pair(now, goal)
        error = (self._action(pair, steps) - action).square().mean()
        return error + functional.cross_entropy(self.distance(pair), steps - 1)

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the actions [N, A] that lead to the goal in as many steps as the fast share of the data took."""
        pair = self._pair(now, goal)
        reached = self.distance(pair).softmax(1).cumsum(1)
        steps = 1 + (reached < FAST_QUANTILE).sum(1).clamp(max=self.max_steps - 1)
        return self._action(pair, steps)

    def _pair(self, now: Tensor, goal: Tensor) -> Tensor:
        return torch.cat([self.now_scale(now), self.goal_scale(goal)], dim=1)

    def _action(self, pair: Tensor, steps: Tensor) -> Tensor:
        return self.network(torch.cat([pair, functional.one_hot(steps - 1, self.max_steps).to(pair)], dim=1))


def train(
    *, task_id: str, dataset: Path, world_model: Path, directory: Path, seed: int, progress: bool = True, **config: Any
) -> None:
    """Trains on the latents of ``world_model`` over a dataset; ``config`` is that of ``OfflineConfig``."""
    train_policy(
        InversePolicy,
        name=NAME,
        task_id=task_id,
        dataset=dataset,
        directory=directory,
        seed=seed,
        world_model=world_model,
        progress=progress,
        config=OfflineConfig(**config),
    )


class InverseAgent(OfflineAgent):
    """Acts by the inverse model."""

    def __init__(self, *, task_id: str, policy: Path, world_model: Path) -> None:
        super().__init__(task_id=task_id, policy=policy, name=NAME, build=InversePolicy, world_model=world_model)
