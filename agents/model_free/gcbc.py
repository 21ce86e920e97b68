"""Goal-conditioned behaviour cloning: do what the data did on its way to where it came (Lynch et al., 2019; Ghosh et al., 2021).

Any state that an episode came to later was, in hindsight, a goal that its actions led to. The policy regresses those
actions on the present and that goal; ours is a Gaussian of fixed width, so the loss is the squared error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.model_free.offline import GoalPolicy, OfflineAgent, OfflineConfig, Standardise, mlp, train_policy

NAME = "gcbc"


class CloningPolicy(GoalPolicy):
    """Normalised model-step actions from now [N, D] and goal [N, D']."""

    def __init__(self, now_size: int, goal_size: int, action_size: int, config: OfflineConfig) -> None:
        super().__init__()
        self.now_scale, self.goal_scale = Standardise(now_size), Standardise(goal_size)
        self.action_scale = Standardise(action_size)
        self.network = mlp(now_size + goal_size, action_size, config)

    def loss(self, now: Tensor, goal: Tensor, action: Tensor, steps: Tensor) -> Tensor:
        """Returns the mean squared error of the action."""
        del steps
        return (self.decide(now, goal) - action).square().mean()

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the mean action [N, A]."""
        return self.network(torch.cat([self.now_scale(now), self.goal_scale(goal)], dim=1))


def train(
    *,
    task_id: str,
    dataset: Path,
    directory: Path,
    seed: int,
    world_model: Path | None = None,
    progress: bool = True,
    **config: Any,
) -> None:
    """Trains on a dataset, from the state or on the latents of ``world_model``; ``config`` is that of ``OfflineConfig``.

    Goals are nearer by preset than in ``OfflineConfig``: what the data did long before it came somewhere says little.
    """
    train_policy(
        CloningPolicy,
        name=NAME,
        task_id=task_id,
        dataset=dataset,
        directory=directory,
        seed=seed,
        world_model=world_model,
        progress=progress,
        config=OfflineConfig(**{"max_goal_steps": 8, **config}),
    )


class GCBCAgent(OfflineAgent):
    """Acts by goal-conditioned behaviour cloning."""

    def __init__(self, *, task_id: str, policy: Path, world_model: Path | None = None) -> None:
        super().__init__(task_id=task_id, policy=policy, name=NAME, build=CloningPolicy, world_model=world_model)
