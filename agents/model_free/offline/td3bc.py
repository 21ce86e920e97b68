"""TD3 + BC with goals in hindsight: TD3 on fixed data, held near it by behaviour cloning (Fujimoto & Gu, 2021).

Rewards are those of hindsight: -1 until the frame is the goal frame.
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
    follow,
    frozen,
    mlp,
)
from jepabench.agents.model_free.offline.training import GoalPolicy, OfflineAgent, train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class TD3BCConfig(OfflineConfig):
    """Settings of TD3 + BC; the numbers are the paper's where it has them.

    Attributes:
        discount: a model step.
        greed: weight of the normalised value against the cloning (alpha).
        noise, noise_limit: of the target policy's action, in normalised units.
        target_rate: share by which the targets follow a step.
    """

    discount: float = 0.95
    greed: float = 2.5
    noise: float = 0.2
    noise_limit: float = 0.5
    target_rate: float = 0.005


class TD3BCPolicy(GoalPolicy):
    """Two Q functions, a deterministic policy, and the targets of all."""

    name, config_type = "td3bc", TD3BCConfig

    def __init__(self, sizes: Sizes, config: TD3BCConfig) -> None:
        super().__init__(sizes, config)
        pair = sizes.now + sizes.goal
        self.critic = Pair(pair + sizes.action, 1, config)
        self.actor = mlp(pair, sizes.action, config)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.slow_actor = copy.deepcopy(self.actor).requires_grad_(False)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the losses of Q functions and policy."""
        here = self.pair(batch.now, batch.value_goal)
        with torch.no_grad():
            there = self.pair(batch.next, batch.value_goal)
            noise = self.config.noise * torch.randn(batch.action.shape, generator=generator)
            after = self.bounded(self.slow_actor(there)) + noise.clamp(
                -self.config.noise_limit, self.config.noise_limit
            )
            after = torch.clamp(after, self.action_low, self.action_high)
            future = self.slow_critic(there, after)[..., 0].amin(0)
            wanted = (batch.reached - 1) + self.config.discount * (1 - batch.reached) * future
        critics = (self.critic(here, batch.action)[..., 0] - wanted).square().mean(1).sum()
        return critics + self._policy_loss(batch)

    def _policy_loss(self, batch: GoalBatch) -> Tensor:
        pair = self.pair(batch.now, batch.goal)
        action = self.bounded(self.actor(pair))
        with frozen(self.critic):
            value = self.critic(pair.detach(), action)[0, :, 0]
        cloning = (action - batch.action).square().mean()
        return cloning - self.config.greed * value.mean() / value.detach().abs().mean().clamp(
            min=1e-6
        )

    def after_step(self) -> None:
        """Moves the targets."""
        follow(self.slow_critic, self.critic, self.config.target_rate)
        follow(self.slow_actor, self.actor, self.config.target_rate)

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the policy's actions [N, A]."""
        return self.bounded(self.actor(self.pair(now, goal)))


train = partial(train_policy, TD3BCPolicy)


class TD3BCAgent(OfflineAgent):
    """Acts with the policy of TD3 + BC."""

    policy_type = TD3BCPolicy
