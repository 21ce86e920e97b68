"""TD3 + BC with hindsight goals (Fujimoto & Gu, 2021): TD3 on fixed data with behaviour cloning.

Rewards are relabelled. They are -1 until the frame is the goal frame.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from jepabench.agents.model_free.offline.agent import OfflineAgent
from jepabench.agents.model_free.offline.hindsight import GoalBatch, GoalMixture
from jepabench.agents.model_free.offline.losses import freeze_weights, polyak_update
from jepabench.agents.model_free.offline.networks import Sizes, TwinCritic, ValueConfig, mlp
from jepabench.agents.model_free.offline.policy import ActorPolicy
from jepabench.agents.model_free.offline.training import train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class TD3BCConfig(ValueConfig):
    """Settings of TD3 + BC. Values that the paper states are the defaults.

    Attributes:
        alpha: Weight of the normalised Q value relative to the behaviour-cloning loss.
        noise: Standard deviation of the noise on actions of the target policy, in normalised units.
        noise_limit: Largest absolute value of this noise.
        tau: Polyak rate of the target networks.
    """

    alpha: float = 2.5
    noise: float = 0.2
    noise_limit: float = 0.5
    tau: float = 0.005


class TD3BCPolicy(ActorPolicy):
    """Twin Q functions and a deterministic policy, with their targets."""

    name, config_type, value_goals = "td3bc", TD3BCConfig, GoalMixture()

    def __init__(self, sizes: Sizes, config: TD3BCConfig) -> None:
        super().__init__(sizes, config)
        size = sizes.now + sizes.goal
        self.critic = TwinCritic(size + sizes.action, 1, config)
        self.actor = mlp(size, sizes.action, config)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of Q functions and policy."""
        config, here = self.config, self.embed(batch.now, batch.value_goal)
        with torch.no_grad():
            there = self.embed(batch.next, batch.value_goal)
            noise = config.noise * torch.randn(batch.action.shape, generator=generator)
            noise = noise.to(batch.action)
            noise = noise.clamp(-config.noise_limit, config.noise_limit)
            after = self.squash(self.target_actor(there)) + noise
            after = torch.clamp(after, self.action_low, self.action_high)
            future = self.target_critic(there, after)[..., 0].amin(0)
            target = (batch.reached - 1) + config.gamma * (1 - batch.reached) * future
        errors = (self.critic(here, batch.action)[..., 0] - target).square()
        return {"critic_loss": errors.mean(1).sum(), "actor_loss": self._actor_loss(batch)}

    def _actor_loss(self, batch: GoalBatch) -> Tensor:
        embedded = self.embed(batch.now, batch.goal)
        action = self.squash(self.actor(embedded))
        with freeze_weights(self.critic):
            value = self.critic(embedded.detach(), action)[0, :, 0]
        bc_loss = (action - batch.action).square().mean()
        scale = value.detach().abs().mean().clamp(min=1e-6)
        return bc_loss - self.config.alpha * value.mean() / scale

    def after_step(self) -> None:
        """Update the target networks."""
        polyak_update(self.target_critic, self.critic, self.config.tau)
        polyak_update(self.target_actor, self.actor, self.config.tau)


train = partial(train_policy, TD3BCPolicy)


class TD3BCAgent(OfflineAgent):
    """Acts with a policy of TD3 + BC."""

    policy_type = TD3BCPolicy
