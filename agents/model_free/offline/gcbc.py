"""Goal-conditioned behaviour cloning (Lynch et al., 2019; Ghosh et al., 2021).

Every later state of an episode is used as a goal of the actions before it. The policy predicts
these actions from the present state and the goal. Ours is a Gaussian with a fixed standard
deviation, so the loss is the squared error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from jepabench.agents.model_free.offline.agent import OfflineAgent
from jepabench.agents.model_free.offline.hindsight import GoalBatch
from jepabench.agents.model_free.offline.networks import OfflineConfig, Sizes, mlp
from jepabench.agents.model_free.offline.policy import GoalPolicy
from jepabench.agents.model_free.offline.training import train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class CloningConfig(OfflineConfig):
    """Settings of behaviour cloning.

    Goals are near by default, since distant goals hardly determine an action.
    """

    max_goal_steps: int = 8


class CloningPolicy(GoalPolicy):
    """A network that predicts the mean action."""

    name, config_type = "gcbc", CloningConfig

    def __init__(self, sizes: Sizes, config: CloningConfig) -> None:
        super().__init__(sizes, config)
        self.network = mlp(sizes.now + sizes.goal, sizes.action, config)

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean squared error of the action."""
        del generator
        error = self.decide(batch.now, batch.goal) - batch.action
        return {"actor_loss": error.square().mean()}

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the mean action [N, A]."""
        return self.network(self.embed(now, goal))


train = partial(train_policy, CloningPolicy)


class GCBCAgent(OfflineAgent):
    """Acts with a policy of goal-conditioned behaviour cloning."""

    policy_type = CloningPolicy
