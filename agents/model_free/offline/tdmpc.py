"""TD-MPC2 (Hansen et al., 2024), goal-conditioned and offline.

Encoder, dynamics, reward and value are trained together on sequences that are unrolled in the
latent space. A plan maximises the reward of a few steps and the value of the last latent. The
search starts from the actions of the policy. Ours uses hindsight goals and rewards of 0 at the goal
and -1 elsewhere. Values are therefore bounded and trained with squared errors. The policy is kept
near the data as in GCIQL.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jepabench.agents.model_free.offline.agent import OfflineAgent
from jepabench.agents.model_free.offline.hindsight import GoalBatch, GoalMixture
from jepabench.agents.model_free.offline.losses import ddpg_bc_loss, freeze_weights, polyak_update
from jepabench.agents.model_free.offline.networks import (
    OfflineConfig,
    Sizes,
    TwinCritic,
    ValueConfig,
    mlp,
)
from jepabench.agents.model_free.offline.policy import GoalPolicy
from jepabench.agents.model_free.offline.training import train_policy
from jepabench.agents.planners.base import Planner
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.receding_horizon import RecedingHorizon
from jepabench.envs.splits import EpisodeSpec

GROUP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TDMPCConfig(ValueConfig):
    """Settings of TD-MPC2. Values that the paper states are the defaults.

    Attributes:
        unroll: Number of model steps for which the model is unrolled in training.
        rho: Weight of an unrolled step relative to the step before it.
        consistency: Weight of the error of imagined latents.
        bc_weight: Weight of the distance to the data's action in the actor loss.
        latent_size: Size of the latent, a multiple of ``GROUP``.
        tau: Polyak rate of the target value.
    """

    unroll: int = 3
    rho: float = 0.5
    consistency: float = 20.0
    bc_weight: float = 0.3
    latent_size: int = 64
    tau: float = 0.01

    def __post_init__(self) -> None:
        # super() without arguments fails in a dataclass with slots.
        OfflineConfig.__post_init__(self)
        if self.latent_size % GROUP:
            raise ValueError(f"latent_size must be a multiple of {GROUP}, got {self.latent_size}.")


class TDMPCPolicy(GoalPolicy):
    """Encoder, dynamics, reward, twin values with their target, and a policy."""

    name, config_type, value_goals = "tdmpc", TDMPCConfig, GoalMixture()

    def __init__(self, sizes: Sizes, config: TDMPCConfig) -> None:
        super().__init__(sizes, config)
        size = config.latent_size + sizes.goal
        self.encoder = mlp(sizes.now, config.latent_size, config)
        self.dynamics = mlp(config.latent_size + sizes.action, config.latent_size, config)
        self.arrival = mlp(size, 1, config)  # the reward is this minus 1
        self.value = TwinCritic(size + sizes.action, 1, config)
        self.target = copy.deepcopy(self.value).requires_grad_(False)
        self.actor = mlp(size, sizes.action, config)

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the actor loss, and the loss of model, reward and value along sequences."""
        del generator
        config, goal = self.config, self.goal_encoder.encode_goal(batch.value_goal)
        latent = self.encode(batch.now)
        actor_loss = self._actor_loss(batch, latent.detach())
        model_loss = latent.new_zeros(())
        for step in range(config.unroll):
            action, after, valid = batch.select_transition(step)
            reached = batch.is_goal(step)
            with torch.no_grad():
                there = self.encode(after)
                future = self.predict_value(there, goal, self.target)
                target = (reached - 1) + config.gamma * (1 - reached) * future
            here = torch.cat([latent, goal], dim=1)
            value_error = (self.value(here, action)[..., 0] - target).square().sum(0)
            reward_error = (self.arrival(here)[:, 0] - reached).square()
            latent = self.imagine(latent, action)
            consistency_error = config.consistency * (latent - there).square().mean(1)
            errors = value_error + reward_error + consistency_error
            model_loss = model_loss + config.rho**step * (valid * errors).mean()
        return {"actor_loss": actor_loss, "model_loss": model_loss}

    def _actor_loss(self, batch: GoalBatch, latent: Tensor) -> Tensor:
        here = torch.cat([latent, self.goal_encoder.encode_goal(batch.goal).detach()], dim=1)
        action = self.squash(self.actor(here))
        with freeze_weights(self.value):
            value = self.value(here, action)[..., 0].amin(0)
        return ddpg_bc_loss(value, action, batch.action, self.config.bc_weight)

    def after_step(self) -> None:
        """Update the target network."""
        polyak_update(self.target, self.value, self.config.tau)

    def encode(self, now: Tensor) -> Tensor:
        """Return the latents [N, D] of present inputs."""
        return _normalise_simplex(self.encoder(self.goal_encoder.encode_now(now)))

    def imagine(self, latent: Tensor, action: Tensor) -> Tensor:
        """Return the latents [N, D] one model step later."""
        return _normalise_simplex(self.dynamics(torch.cat([latent, action], dim=1)))

    def act(self, latent: Tensor, goal: Tensor) -> Tensor:
        """Return the policy's actions [N, A] for latents and encoded goals."""
        return self.squash(self.actor(torch.cat([latent, goal], dim=1)))

    def predict_value(self, latent: Tensor, goal: Tensor, critic: nn.Module) -> Tensor:
        """Return the value [N] of the policy, minus the discounted number of steps to the goal."""
        return critic(latent, goal, self.act(latent, goal))[..., 0].amin(0)

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the policy's actions [N, A], without planning."""
        return self.act(self.encode(now), self.goal_encoder.encode_goal(goal))


def _normalise_simplex(outputs: Tensor) -> Tensor:
    """Apply a softmax to each group of [N, D] (SimNorm), which keeps long rollouts bounded."""
    return outputs.unflatten(1, (-1, GROUP)).softmax(2).flatten(1)


train = partial(train_policy, TDMPCPolicy)


class ValueCost:
    """Cost of plans from one latent: minus their rewards and the value of their last latents.

    Args:
        policy: Trained TD-MPC2 model.
        latent: Present latent [1, D].
        goal: Encoded goal [1, D'].
    """

    def __init__(self, policy: TDMPCPolicy, latent: Tensor, goal: Tensor) -> None:
        self._policy, self._latent, self._goal = policy, latent, goal

    def __call__(self, actions: Tensor) -> Tensor:
        """Return the costs [1, S] of actions [1, S, H, A]."""
        number = actions.shape[1]
        latent, goal = self._latent.expand(number, -1), self._goal.expand(number, -1)
        total, discount = latent.new_zeros(number), 1.0
        for action in actions[0].unbind(1):
            arrival = self._policy.arrival(torch.cat([latent, goal], dim=1))[:, 0].clamp(0, 1)
            total = total + discount * (1 - arrival)
            latent = self._policy.imagine(latent, action)
            discount = discount * self._policy.config.gamma
        value = self._policy.predict_value(latent, goal, self._policy.value)
        return (total - discount * value)[None]

    def propose(self, horizon: int) -> Tensor:
        """Return the policy's actions along its own imagined path [1, 1, H, A]."""
        latent, actions = self._latent, []
        for _ in range(horizon):
            actions.append(self._policy.act(latent, self._goal))
            latent = self._policy.imagine(latent, actions[-1])
        return torch.stack(actions, dim=1)[None]


class TDMPCAgent(OfflineAgent):
    """Plans in the learned model. Searches start from the policy's actions and the last plan.

    Args:
        task_id, policy, world_model, pixels, device: See ``OfflineAgent``.
        planner: Planner, by default MPPI as in the paper.
    """

    policy_type = TDMPCPolicy
    policy: TDMPCPolicy

    def __init__(
        self,
        *,
        task_id: str,
        policy: Path,
        world_model: Path | None = None,
        pixels: bool = False,
        planner: Planner | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            task_id=task_id, policy=policy, world_model=world_model, pixels=pixels, device=device
        )
        scale = self.policy.action_scale
        self._control = RecedingHorizon(
            task=self.task,
            planner=planner or MPPIPlanner(horizon=3),
            action_mean=scale.mean.cpu().numpy(),
            action_std=scale.std.cpu().numpy(),
            device=self.device,
        )
        self._queue = self._control.queue

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        super().reset(specs)
        self._control.reset(specs)

    def _plan_block(self, episode: int, now: Tensor, goal: Tensor) -> None:
        goal = self.policy.goal_encoder.encode_goal(goal)
        cost = ValueCost(self.policy, self.policy.encode(now), goal)
        self._control.plan([episode], cost, proposals=cost.propose(self._control.planner.horizon))

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Steps of the policy's own model so far [B]."""
        return self._control.model_steps
