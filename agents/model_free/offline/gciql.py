"""Goal-conditioned implicit Q-learning (Kostrikov et al., 2022; as in OGBench, Park et al., 2025).

The value is an upper expectile of the Q values of actions in the data, so values of unseen actions
are never used. The reward is -1 until the frame is the goal frame. The policy maximises the Q
function and stays near the data (DDPG + BC). Expectile and BC weight have the defaults of OGBench.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from jepabench.agents.model_free.offline.agent import OfflineAgent
from jepabench.agents.model_free.offline.hindsight import GoalBatch, GoalMixture
from jepabench.agents.model_free.offline.losses import ddpg_bc_loss, expectile_loss, polyak_update
from jepabench.agents.model_free.offline.networks import Sizes, TwinCritic, ValueConfig, mlp
from jepabench.agents.model_free.offline.policy import ActorPolicy
from jepabench.agents.model_free.offline.training import train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class GCIQLConfig(ValueConfig):
    """Settings of GCIQL.

    Attributes:
        expectile: Expectile of the value, 0 to 1. Above 0.5, better actions have larger weights.
        bc_weight: Weight of the distance to the data's action in the actor loss.
        tau: Polyak rate of the target network.
    """

    expectile: float = 0.9
    bc_weight: float = 0.3
    tau: float = 0.005


class GCIQLPolicy(ActorPolicy):
    """A value, twin Q functions with their target, and a policy."""

    name, config_type, value_goals = "gciql", GCIQLConfig, GoalMixture()

    def __init__(self, sizes: Sizes, config: GCIQLConfig) -> None:
        super().__init__(sizes, config)
        size = sizes.now + sizes.goal
        self.value = mlp(size, 1, config)
        self.critic = TwinCritic(size + sizes.action, 1, config)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.actor = mlp(size, sizes.action, config)

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of value, Q functions and policy."""
        del generator
        here = self.embed(batch.now, batch.value_goal)
        taken = self.target(here, batch.action)[..., 0].amin(0).detach()
        error = taken - self.value(here)[:, 0]
        with torch.no_grad():
            there = self.value(self.embed(batch.next, batch.value_goal))[:, 0]
            target = (batch.reached - 1) + self.config.gamma * (1 - batch.reached) * there
        critic_errors = (self.critic(here, batch.action)[..., 0] - target).square()
        return {
            "value_loss": expectile_loss(error, error.detach(), self.config.expectile),
            "critic_loss": critic_errors.mean(1).sum(),
            "actor_loss": self._actor_loss(batch),
        }

    def _actor_loss(self, batch: GoalBatch) -> Tensor:
        embedded = self.embed(batch.now, batch.goal)
        action = self.squash(self.actor(embedded))
        # The target's weights are frozen, so its gradient reaches the action only.
        value = self.target(embedded.detach(), action)[..., 0].amin(0)
        return ddpg_bc_loss(value, action, batch.action, self.config.bc_weight)

    def after_step(self) -> None:
        """Update the target network."""
        polyak_update(self.target, self.critic, self.config.tau)


train = partial(train_policy, GCIQLPolicy)


class GCIQLAgent(OfflineAgent):
    """Acts with a policy of GCIQL."""

    policy_type = GCIQLPolicy
