"""Contrastive reinforcement learning: a classifier tells futures of (state, action) from those of others (Eysenbach et al., 2022).

Its logit is, up to a constant, the log-density of coming to a goal soon, which the policy climbs while it stays near the
data (DDPG + BC, as in OGBench, Park et al., 2025).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from jepabench.agents.model_free.offline.hindsight import GoalBatch, GoalMixture
from jepabench.agents.model_free.offline.networks import OfflineConfig, Pair, Sizes, frozen, mlp
from jepabench.agents.model_free.offline.training import GoalPolicy, OfflineAgent, train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLConfig(OfflineConfig):
    """Settings of contrastive reinforcement learning.

    Attributes:
        discount: a model step; futures are geometrically distributed with it.
        representation_size: of (state, action) and of goals.
        cloning: weight of the distance to the data's action in the policy's loss.
    """

    discount: float = 0.95
    representation_size: int = 64
    cloning: float = 0.1


class CRLPolicy(GoalPolicy):
    """Two classifiers, each an inner product of two representations, and a policy."""

    name, config_type = "crl", CRLConfig
    value_goals = GoalMixture(present=0.0, future=1.0, random=0.0)

    def __init__(self, sizes: Sizes, config: CRLConfig) -> None:
        super().__init__(sizes, config)
        self.deed = Pair(sizes.now + sizes.action, config.representation_size, config)
        self.place = Pair(sizes.goal, config.representation_size, config)
        self.actor = mlp(sizes.now + sizes.goal, sizes.action, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the losses of the classifiers and of the policy."""
        del generator
        deeds = self.deed(self.eyes.now(batch.now), batch.action)
        places = self.place(self.eyes.goal(batch.value_goal))
        logits = (
            deeds @ places.mT * self.config.representation_size**-0.5
        )  # [2, N, N]: own future on the diagonal
        labels = torch.eye(logits.shape[1]).expand_as(logits)
        contrast = (
            functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
            .mean((1, 2))
            .sum()
        )
        return contrast + self._policy_loss(batch)

    def _policy_loss(self, batch: GoalBatch) -> Tensor:
        action = self.decide(batch.now, batch.goal)
        with frozen(self.deed), frozen(self.place):
            now, goal = self.eyes.now(batch.now).detach(), self.eyes.goal(batch.goal).detach()
            alike = (self.deed(now, action) * self.place(goal)).sum(
                2
            ) * self.config.representation_size**-0.5
        value = alike.amin(0)
        cloning = (action - batch.action).square().mean()
        return (
            -value.mean() / value.detach().abs().mean().clamp(min=1e-6)
            + self.config.cloning * cloning
        )

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the policy's actions [N, A]."""
        return self.bounded(self.actor(self.pair(now, goal)))


train = partial(train_policy, CRLPolicy)


class CRLAgent(OfflineAgent):
    """Acts with the policy of contrastive reinforcement learning."""

    policy_type = CRLPolicy
