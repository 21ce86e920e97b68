"""Goal-conditioned implicit value learning: no Q function, the value itself is regressed on its own next step (Park et al., 2025).

What an action was worth is then how much the value rose; the policy clones the data's actions, weighted by it. Right only
where the world is deterministic, which the method takes for granted.
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

MAX_WEIGHT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GCIVLConfig(OfflineConfig):
    """Settings of GCIVL.

    Attributes:
        discount: a model step.
        expectile: of the value.
        sharpness: of the weights exp(sharpness * advantage) that the data's actions are cloned with.
        target_rate: share by which the target network follows a step.
    """

    discount: float = 0.95
    expectile: float = 0.9
    sharpness: float = 10.0
    target_rate: float = 0.005


class ValuePolicy(GoalPolicy):
    """What value-learning methods without a Q function share: two values of a pair, and their targets."""

    value: Pair
    target: Pair

    def value_loss(self, here: Tensor, there: Tensor, reached: Tensor) -> Tensor:
        """Returns the expectile regression of both values of ``here`` [N, D] on one step and ``there`` [N, D]."""
        discount = self.config.discount * (1 - reached)
        with torch.no_grad():
            after = self.target(there)[..., 0]
            advantage = (reached - 1) + discount * after.amin(0) - self.target(here)[..., 0].mean(0)
            wanted = (reached - 1) + discount * after
        errors = wanted - self.value(here)[..., 0]
        return 2 * expectile_loss(errors, advantage.expand_as(errors), self.config.expectile)

    def weights(self, there: Tensor, here: Tensor) -> Tensor:
        """Returns what actions that led from ``here`` to ``there`` count in cloning [N]."""
        with torch.no_grad():
            advantage = self.value(there)[..., 0].mean(0) - self.value(here)[..., 0].mean(0)
            return (self.config.sharpness * advantage).exp().clamp(max=MAX_WEIGHT)

    def after_step(self) -> None:
        """Moves the target."""
        follow(self.target, self.value, self.config.target_rate)


class GCIVLPolicy(ValuePolicy):
    """Values and a policy."""

    name, config_type = "gcivl", GCIVLConfig

    def __init__(self, sizes: Sizes, config: GCIVLConfig) -> None:
        super().__init__(sizes, config)
        pair = sizes.now + sizes.goal
        self.value = Pair(pair, 1, config)
        self.target = copy.deepcopy(self.value).requires_grad_(False)
        self.actor = mlp(pair, sizes.action, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the losses of values and policy."""
        del generator
        here, there = (
            self.pair(batch.now, batch.value_goal),
            self.pair(batch.next, batch.value_goal),
        )
        weights = self.weights(self.pair(batch.next, batch.goal), self.pair(batch.now, batch.goal))
        error = (self.decide(batch.now, batch.goal) - batch.action).square().mean(1)
        return self.value_loss(here, there, batch.reached) + (weights * error).mean()

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the policy's actions [N, A]."""
        return self.bounded(self.actor(self.pair(now, goal)))


train = partial(train_policy, GCIVLPolicy)


class GCIVLAgent(OfflineAgent):
    """Acts with the policy of GCIVL."""

    policy_type = GCIVLPolicy
