"""Goal-conditioned implicit Q-learning (Kostrikov et al., 2022; goal-conditioned as in OGBench, Park et al., 2025).

The value is an upper expectile of the Q values of the data's own actions, so nothing is ever asked about an action that
was not taken. The reward is -1 until the frame is the goal frame. The policy climbs the Q function and stays near the
data (DDPG + BC), as OGBench does; its published numbers are the start: expectile 0.9, weight of the cloning 0.3.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from jepabench.agents.model_free.offline.hindsight import GoalBatch
from jepabench.agents.model_free.offline.networks import (
    OfflineConfig,
    Pair,
    Sizes,
    expectile_loss,
    follow,
    mlp,
)
from jepabench.agents.model_free.offline.training import GoalPolicy, OfflineAgent, train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class GCIQLConfig(OfflineConfig):
    """Settings of GCIQL.

    Attributes:
        discount: a model step.
        expectile: of the value, above 0.5 leans to the best actions of the data.
        cloning: weight of the distance to the data's action in the policy's loss.
        target_rate: share by which the target network follows a step.
    """

    discount: float = 0.95
    expectile: float = 0.9
    cloning: float = 0.3
    target_rate: float = 0.005


class GCIQLPolicy(GoalPolicy):
    """Value, two Q functions and their target, and a policy."""

    name, config_type = "gciql", GCIQLConfig

    def __init__(self, sizes: Sizes, config: GCIQLConfig) -> None:
        super().__init__(sizes, config)
        pair = sizes.now + sizes.goal
        self.value = mlp(pair, 1, config)
        self.critic = Pair(pair + sizes.action, 1, config)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.actor = mlp(pair, sizes.action, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the sum of the losses of value, Q functions and policy."""
        del generator
        return self._value_losses(batch) + self._policy_loss(batch)

    def _value_losses(self, batch: GoalBatch) -> Tensor:
        here = self.pair(batch.now, batch.value_goal)
        taken = self.target(here, batch.action)[..., 0].amin(0).detach()
        error = taken - self.value(here)[:, 0]
        with torch.no_grad():
            there = self.value(self.pair(batch.next, batch.value_goal))[:, 0]
            wanted = (batch.reached - 1) + self.config.discount * (1 - batch.reached) * there
        critics = (self.critic(here, batch.action)[..., 0] - wanted).square().mean(1).sum()
        return expectile_loss(error, error.detach(), self.config.expectile) + critics

    def _policy_loss(self, batch: GoalBatch) -> Tensor:
        pair = self.pair(batch.now, batch.goal)
        action = self.bounded(self.actor(pair))
        # The target's gradient reaches the action and, its weights being frozen, nothing else that is trained.
        value = self.target(pair.detach(), action)[..., 0].amin(0)
        cloning = (action - batch.action).square().mean()
        return (
            -value.mean() / value.detach().abs().mean().clamp(min=1e-6)
            + self.config.cloning * cloning
        )

    def after_step(self) -> None:
        """Moves the target."""
        follow(self.target, self.critic, self.config.target_rate)

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the policy's actions [N, A]."""
        return self.bounded(self.actor(self.pair(now, goal)))


train = partial(train_policy, GCIQLPolicy)


class GCIQLAgent(OfflineAgent):
    """Acts with the policy of GCIQL."""

    policy_type = GCIQLPolicy
