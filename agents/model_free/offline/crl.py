"""Contrastive reinforcement learning (Eysenbach et al., 2022).

A classifier distinguishes the future of a (state, action) pair from the futures of other pairs. Up
to a constant, its logit is the log-density of reaching a goal soon. The policy maximises it and
stays near the data (DDPG + BC, as in OGBench, Park et al., 2025).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from jepabench.agents.model_free.offline.agent import OfflineAgent
from jepabench.agents.model_free.offline.hindsight import GoalBatch, GoalMixture
from jepabench.agents.model_free.offline.losses import ddpg_bc_loss, freeze_weights
from jepabench.agents.model_free.offline.networks import Sizes, TwinCritic, ValueConfig, mlp
from jepabench.agents.model_free.offline.policy import GoalPolicy
from jepabench.agents.model_free.offline.training import train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLConfig(ValueConfig):
    """Settings of contrastive reinforcement learning.

    Attributes:
        representation_size: Size of the representations of (state, action) pairs and of goals.
        bc_weight: Weight of the distance to the data's action in the actor loss.
    """

    representation_size: int = 64
    bc_weight: float = 0.1


class CRLPolicy(GoalPolicy):
    """Two classifiers, each the inner product of phi(state, action) and psi(goal), and a policy."""

    name, config_type = "crl", CRLConfig
    value_goals = GoalMixture(present=0.0, future=1.0, random=0.0)

    def __init__(self, sizes: Sizes, config: CRLConfig) -> None:
        super().__init__(sizes, config)
        self.phi = TwinCritic(sizes.now + sizes.action, config.representation_size, config)
        self.psi = TwinCritic(sizes.goal, config.representation_size, config)
        self.actor = mlp(sizes.now + sizes.goal, sizes.action, config)

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of the classifiers and of the policy."""
        del generator
        phi = self.phi(self.goal_encoder.encode_now(batch.now), batch.action)
        psi = self.psi(self.goal_encoder.encode_goal(batch.value_goal))
        # [2, N, N], with each pair's own future on the diagonal
        logits = phi @ psi.mT * self.config.representation_size**-0.5
        labels = torch.eye(logits.shape[1], device=logits.device).expand_as(logits)
        entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return {"critic_loss": entropy.mean((1, 2)).sum(), "actor_loss": self._actor_loss(batch)}

    def _actor_loss(self, batch: GoalBatch) -> Tensor:
        action = self.decide(batch.now, batch.goal)
        with freeze_weights(self.phi), freeze_weights(self.psi):
            now = self.goal_encoder.encode_now(batch.now).detach()
            goal = self.goal_encoder.encode_goal(batch.goal).detach()
            product = (self.phi(now, action) * self.psi(goal)).sum(2)
            value = (product * self.config.representation_size**-0.5).amin(0)
        return ddpg_bc_loss(value, action, batch.action, self.config.bc_weight)

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the policy's actions [N, A]."""
        return self.squash(self.actor(self.embed(now, goal)))


train = partial(train_policy, CRLPolicy)


class CRLAgent(OfflineAgent):
    """Acts with a policy of contrastive reinforcement learning."""

    policy_type = CRLPolicy
