"""Model-based reinforcement learning on the data: a latent model with reward and value, a policy prior, and a search (TD-MPC2).

Hansen et al. (2024), conditioned on goals in hindsight and kept offline: encoder, dynamics, reward and value are trained
together on sequences that are unrolled in the latent space; what is planned is a few steps of reward and the value of where
they end, and the search begins at what the policy would do. Ours differs where the task does: rewards are 0 at the goal and
-1 elsewhere, so values are bounded and regressed with squared errors, and the policy is held near the data as in GCIQL.
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
from jepabench.agents.planners.base import Planner
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.receding_horizon import RecedingHorizon
from jepabench.envs.splits import EpisodeSpec

GROUP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TDMPCConfig(OfflineConfig):
    """Settings of TD-MPC2; the numbers are the paper's where it has them.

    Attributes:
        discount: a model step.
        unroll: model steps that the model is unrolled in training.
        fading: what a step of it counts, in units of the one before.
        consistency: weight of the error of imagined latents.
        cloning: weight of the distance to the data's action in the policy's loss.
        latent_size: of the latent, in groups of ``GROUP``.
        target_rate: share by which the target of the value follows a step.
    """

    discount: float = 0.95
    unroll: int = 3
    fading: float = 0.5
    consistency: float = 20.0
    cloning: float = 0.3
    latent_size: int = 64
    target_rate: float = 0.01

    def __post_init__(self) -> None:
        # By name: a dataclass with slots is made anew, so super() without arguments would look at the wrong one.
        OfflineConfig.__post_init__(self)
        if self.latent_size % GROUP:
            raise ValueError(f"latent_size is a multiple of {GROUP}, got {self.latent_size}.")


class TDMPCPolicy(GoalPolicy):
    """Encoder, dynamics, reward, two values and their target, and the policy prior."""

    name, config_type = "tdmpc", TDMPCConfig

    def __init__(self, sizes: Sizes, config: TDMPCConfig) -> None:
        super().__init__(sizes, config)
        pair = config.latent_size + sizes.goal
        self.encoder = mlp(sizes.now, config.latent_size, config)
        self.dynamics = mlp(config.latent_size + sizes.action, config.latent_size, config)
        self.arrival = mlp(pair, 1, config)  # the reward is this minus 1
        self.value = Pair(pair + sizes.action, 1, config)
        self.target = copy.deepcopy(self.value).requires_grad_(False)
        self.actor = mlp(pair, sizes.action, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the losses of model, reward and value along imagined sequences, and that of the policy."""
        del generator
        goal, latent = self.eyes.goal(batch.value_goal), self.encode(batch.now)
        total = self._policy_loss(batch, latent.detach())
        for step in range(self.config.unroll):
            action, after, within = batch.ahead(step)
            reached = (batch.now_rows + step == batch.value_rows).float()
            with torch.no_grad():
                there = self.encode(after)
                future = self.final_value(there, goal, self.target)
                wanted = (reached - 1) + self.config.discount * (1 - reached) * future
            here = torch.cat([latent, goal], dim=1)
            values = (self.value(here, action)[..., 0] - wanted).square().sum(0)
            arrival = (self.arrival(here)[:, 0] - reached).square()
            latent = self.imagine(latent, action)
            wrong = self.config.consistency * (latent - there).square().mean(1)
            total = total + self.config.fading**step * (within * (values + arrival + wrong)).mean()
        return total

    def _policy_loss(self, batch: GoalBatch, latent: Tensor) -> Tensor:
        here = torch.cat([latent, self.eyes.goal(batch.goal).detach()], dim=1)
        action = self.bounded(self.actor(here))
        with frozen(self.value):
            value = self.value(here, action)[..., 0].amin(0)
        cloning = (action - batch.action).square().mean()
        return (
            -value.mean() / value.detach().abs().mean().clamp(min=1e-6)
            + self.config.cloning * cloning
        )

    def after_step(self) -> None:
        """Moves the target."""
        follow(self.target, self.value, self.config.target_rate)

    def encode(self, now: Tensor) -> Tensor:
        """Returns latents [N, D] of what is seen."""
        return _simplices(self.encoder(self.eyes.now(now)))

    def imagine(self, latent: Tensor, action: Tensor) -> Tensor:
        """Returns the latents [N, D] one model step later."""
        return _simplices(self.dynamics(torch.cat([latent, action], dim=1)))

    def act(self, latent: Tensor, goal: Tensor) -> Tensor:
        """Returns what the policy does [N, A] at latents, towards goals as vectors."""
        return self.bounded(self.actor(torch.cat([latent, goal], dim=1)))

    def final_value(self, latent: Tensor, goal: Tensor, critic: nn.Module) -> Tensor:
        """Returns what the policy will get from latents on [N]: minus the discounted steps to the goal."""
        return critic(latent, goal, self.act(latent, goal))[..., 0].amin(0)

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the policy's actions [N, A], without a search."""
        return self.act(self.encode(now), self.eyes.goal(goal))


def _simplices(free: Tensor) -> Tensor:
    """Returns [N, D] as groups that are positive and add up to 1, which keeps long rollouts bounded (SimNorm)."""
    return free.unflatten(1, (-1, GROUP)).softmax(2).flatten(1)


train = partial(train_policy, TDMPCPolicy)


class ValueCost:
    """Minus what a plan will get from one latent on: its rewards and the value of where it ends.

    Args:
        policy: the model.
        latent: [1, D].
        goal: as a vector [1, D'].
    """

    def __init__(self, policy: TDMPCPolicy, latent: Tensor, goal: Tensor) -> None:
        self._policy, self._latent, self._goal = policy, latent, goal

    def __call__(self, actions: Tensor) -> Tensor:
        """Returns costs [1, S] of actions [1, S, H, A]."""
        number = actions.shape[1]
        latent, goal = self._latent.expand(number, -1), self._goal.expand(number, -1)
        total, discount = latent.new_zeros(number), 1.0
        for action in actions[0].unbind(1):
            total = total + discount * (
                1 - self._policy.arrival(torch.cat([latent, goal], dim=1))[:, 0].clamp(0, 1)
            )
            latent, discount = (
                self._policy.imagine(latent, action),
                discount * self._policy.config.discount,
            )
        return (total - discount * self._policy.final_value(latent, goal, self._policy.value))[None]

    def proposal(self, horizon: int) -> Tensor:
        """Returns what the policy would do [1, 1, H, A]."""
        latent, actions = self._latent, []
        for _ in range(horizon):
            actions.append(self._policy.act(latent, self._goal))
            latent = self._policy.imagine(latent, actions[-1])
        return torch.stack(actions, dim=1)[None]


class TDMPCAgent(OfflineAgent):
    """Searches in the learned model, beginning at what the policy would do and at what is left of the last plan.

    Args:
        task_id, policy, world_model, pixels: see ``OfflineAgent``.
        planner: the search; by default MPPI, as in the paper.
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
    ) -> None:
        super().__init__(task_id=task_id, policy=policy, world_model=world_model, pixels=pixels)
        scale = self.policy.action_scale
        self._control = RecedingHorizon(
            task=self.task,
            planner=planner or MPPIPlanner(horizon=3),
            action_mean=scale.mean.numpy(),
            action_std=scale.std.numpy(),
        )
        self._queue = self._control.queue

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Starts B new episodes."""
        super().reset(specs)
        self._control.reset(specs)

    def _choose(self, episode: int, now: Tensor, goal: Tensor) -> None:
        cost = ValueCost(self.policy, self.policy.encode(now), self.policy.eyes.goal(goal))
        self._control.plan([episode], cost, proposals=cost.proposal(self._control.planner.horizon))

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Steps of its own model so far [B]."""
        return self._control.model_steps
