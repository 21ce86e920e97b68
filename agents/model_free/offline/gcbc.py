"""Goal-conditioned behaviour cloning: do what the data did on its way to where it came (Lynch et al., 2019; Ghosh et al., 2021).

Any state that an episode came to later was, in hindsight, a goal that its actions led to. The policy regresses those
actions on the present and that goal; ours is a Gaussian of fixed width, so the loss is the squared error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from jepabench.agents.model_free.offline.hindsight import GoalBatch
from jepabench.agents.model_free.offline.networks import OfflineConfig, Sizes, mlp
from jepabench.agents.model_free.offline.training import GoalPolicy, OfflineAgent, train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class CloningConfig(OfflineConfig):
    """Goals are near by preset: what the data did long before it came somewhere says little."""

    max_goal_steps: int = 8


class CloningPolicy(GoalPolicy):
    """The mean action, regressed."""

    name, config_type = "gcbc", CloningConfig

    def __init__(self, sizes: Sizes, config: CloningConfig) -> None:
        super().__init__(sizes, config)
        self.network = mlp(sizes.now + sizes.goal, sizes.action, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the mean squared error of the action."""
        del generator
        return (self.decide(batch.now, batch.goal) - batch.action).square().mean()

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the mean action [N, A]."""
        return self.network(self.pair(now, goal))


train = partial(train_policy, CloningPolicy)


class GCBCAgent(OfflineAgent):
    """Acts by goal-conditioned behaviour cloning."""

    policy_type = CloningPolicy
