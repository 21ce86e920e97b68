"""A multi-step inverse model on frozen latents: the action that leads to the goal in k steps.

The model acts without planning, which shows whether planning is needed on given latents. It is
conditioned on the number of steps k, as is GC-IDM on latents of LeWM. Since an agent does not know
k, a second head learns to predict it from the same pairs. The agent acts with a low quantile of
this prediction, because the data rarely take the shortest path.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from jepabench.agents.model_free.offline.agent import OfflineAgent
from jepabench.agents.model_free.offline.hindsight import GoalBatch
from jepabench.agents.model_free.offline.networks import OfflineConfig, Sizes, mlp
from jepabench.agents.model_free.offline.timed import TimedPolicy
from jepabench.agents.model_free.offline.training import train_policy

STEPS_QUANTILE = 0.1


class InversePolicy(TimedPolicy):
    """Predicts the action from present, goal and steps, and the steps from present and goal."""

    name, config_type = "inverse", OfflineConfig

    def __init__(self, sizes: Sizes, config: OfflineConfig) -> None:
        super().__init__(sizes, config)
        self.num_arrivals = 1  # the model predicts the time of arrival
        self.distance = mlp(sizes.now + sizes.goal, self.max_steps, config)

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the squared error of the action and the cross-entropy of the steps."""
        logits = self.distance(self.embed(batch.now, batch.goal))
        steps = functional.cross_entropy(logits, batch.steps - 1)
        return super().losses(batch, generator) | {"distance_loss": steps}

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the actions [N, A] for an arrival at the low quantile of the predicted steps."""
        cumulative = self.distance(self.embed(now, goal)).softmax(1).cumsum(1)
        steps = 1 + (cumulative < STEPS_QUANTILE).sum(1).clamp(max=self.max_steps - 1)
        return self.decide_in(now, goal, steps)


train = partial(train_policy, InversePolicy)


class InverseAgent(OfflineAgent):
    """Acts with an inverse model."""

    policy_type = InversePolicy
