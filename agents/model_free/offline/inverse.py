"""A multi-step inverse model on frozen latents: which action leads from here to there in k steps? Acting without planning.

If the latent is good enough to plan with, this asks whether the plan was needed at all. The model is conditioned on the
number of steps k (as GC-IDM is, on latents of LeWM). How far a goal is, an agent does not know; a second head learns to
say it from the same pairs, and acting takes the fast end of its answer, since the data dawdles.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from jepabench.agents.model_free.offline.hindsight import GoalBatch
from jepabench.agents.model_free.offline.networks import OfflineConfig, Sizes, mlp
from jepabench.agents.model_free.offline.timed import TimedPolicy
from jepabench.agents.model_free.offline.training import OfflineAgent, train_policy

FAST_QUANTILE = 0.1


class InversePolicy(TimedPolicy):
    """The action, given the pair and the steps between; and the steps, given the pair."""

    name, config_type = "inverse", OfflineConfig

    def __init__(self, sizes: Sizes, config: OfflineConfig) -> None:
        super().__init__(sizes, config)
        self.num_arrivals = 1  # it knows how long it takes
        self.distance = mlp(sizes.now + sizes.goal, self.max_steps, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the mean squared error of the action given the steps, plus the cross-entropy of the steps."""
        steps = functional.cross_entropy(
            self.distance(self.pair(batch.now, batch.goal)), batch.steps - 1
        )
        return super().loss(batch, generator) + steps

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the actions [N, A] that lead to the goal in as many steps as the fast share of the data took."""
        reached = self.distance(self.pair(now, goal)).softmax(1).cumsum(1)
        steps = 1 + (reached < FAST_QUANTILE).sum(1).clamp(max=self.max_steps - 1)
        return self.decide_in(now, goal, steps)


train = partial(train_policy, InversePolicy)


class InverseAgent(OfflineAgent):
    """Acts by the inverse model."""

    policy_type = InversePolicy
