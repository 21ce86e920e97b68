"""Goal-conditioned implicit value learning (GCIVL, as in OGBench, Park et al., 2025).

There is no Q function, and the target of the value is computed from the value of the next state.
The advantage of an action is the increase of the value. The policy imitates the actions of the data
with weights that depend on their advantage (AWR). The method assumes a deterministic world.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from jepabench.agents.model_free.offline.agent import OfflineAgent
from jepabench.agents.model_free.offline.hindsight import GoalBatch, GoalMixture
from jepabench.agents.model_free.offline.losses import expectile_loss, polyak_update
from jepabench.agents.model_free.offline.networks import Sizes, TwinCritic, ValueConfig, mlp
from jepabench.agents.model_free.offline.policy import ActorPolicy, GoalPolicy
from jepabench.agents.model_free.offline.training import train_policy

MAX_WEIGHT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GCIVLConfig(ValueConfig):
    """Settings of GCIVL.

    Attributes:
        expectile: Expectile of the value, 0 to 1.
        awr_temperature: Inverse temperature of AWR. Actions of the data have the weights
            exp(awr_temperature * advantage).
        tau: Polyak rate of the target network.
    """

    expectile: float = 0.9
    awr_temperature: float = 10.0
    tau: float = 0.005


class ValuePolicy(GoalPolicy):
    """Base class of methods that learn twin values with targets, and no Q function."""

    value_goals = GoalMixture()
    value: TwinCritic
    target: TwinCritic

    def value_loss(self, here: Tensor, there: Tensor, reached: Tensor) -> Tensor:
        """Return the expectile loss of both values.

        Args:
            here: Embedded frames and goals before the transitions [N, D].
            there: Embedded frames and goals after the transitions [N, D].
            reached: 1.0 where ``here`` is the goal, else 0.0 [N].
        """
        discount = self.config.gamma * (1 - reached)
        with torch.no_grad():
            after = self.target(there)[..., 0]
            advantage = (reached - 1) + discount * after.amin(0) - self.target(here)[..., 0].mean(0)
            target = (reached - 1) + discount * after
        errors = target - self.value(here)[..., 0]
        return 2 * expectile_loss(errors, advantage.expand_as(errors), self.config.expectile)

    def compute_weights(self, there: Tensor, here: Tensor) -> Tensor:
        """Return the AWR weights [N] of actions that lead from ``here`` to ``there`` [N, D]."""
        with torch.no_grad():
            advantage = self.value(there)[..., 0].mean(0) - self.value(here)[..., 0].mean(0)
            return (self.config.awr_temperature * advantage).exp().clamp(max=MAX_WEIGHT)

    def after_step(self) -> None:
        """Update the target network."""
        polyak_update(self.target, self.value, self.config.tau)


class GCIVLPolicy(ValuePolicy, ActorPolicy):
    """Twin values and a policy."""

    name, config_type = "gcivl", GCIVLConfig

    def __init__(self, sizes: Sizes, config: GCIVLConfig) -> None:
        super().__init__(sizes, config)
        size = sizes.now + sizes.goal
        self.value = TwinCritic(size, 1, config)
        self.target = copy.deepcopy(self.value).requires_grad_(False)
        self.actor = mlp(size, sizes.action, config)

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of values and policy."""
        del generator
        here = self.embed(batch.now, batch.value_goal)
        there = self.embed(batch.next, batch.value_goal)
        weights = self.compute_weights(
            self.embed(batch.next, batch.goal), self.embed(batch.now, batch.goal)
        )
        error = (self.decide(batch.now, batch.goal) - batch.action).square().mean(1)
        return {
            "value_loss": self.value_loss(here, there, batch.reached),
            "actor_loss": (weights * error).mean(),
        }


train = partial(train_policy, GCIVLPolicy)


class GCIVLAgent(OfflineAgent):
    """Acts with a policy of GCIVL."""

    policy_type = GCIVLPolicy
