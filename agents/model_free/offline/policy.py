"""The interface of an offline method: a policy with losses."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from jepabench.agents.model_free.offline.hindsight import GoalBatch, GoalMixture
from jepabench.agents.model_free.offline.networks import (
    GoalEncoder,
    OfflineConfig,
    Sizes,
    Standardise,
)


class GoalPolicy(nn.Module):
    """A goal-conditioned policy over normalised actions of model steps.

    Attributes:
        name: Name of the algorithm.
        config_type: Class of its settings.
        value_goals: Goals of its value function, or None if it has none.
        num_arrivals: Number of arrival times on which it can be conditioned; 1 for none.
        history: Number of vectors in the present input, newest last. At the start of an episode,
            the first vector is repeated.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[OfflineConfig]] = OfflineConfig
    value_goals: ClassVar[GoalMixture | None] = None
    num_arrivals: int = 1
    action_low: Tensor
    action_high: Tensor

    def __init__(self, sizes: Sizes, config: Any) -> None:
        super().__init__()
        self.sizes, self.config, self.history = sizes, config, config.history or 1
        self.goal_encoder = GoalEncoder(sizes, config.encoder, self.history)
        self.action_scale = Standardise(sizes.action)
        self.register_buffer("action_low", -torch.ones(sizes.action))
        self.register_buffer("action_high", torch.ones(sizes.action))

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the named losses of a batch; training minimises their sum.

        Args:
            batch: Transitions with goals.
            generator: Random generator.
        """
        raise NotImplementedError

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return normalised actions [N, A] for present [N, D] and goal [N, D']."""
        raise NotImplementedError

    def decide_in(self, now: Tensor, goal: Tensor, steps: Tensor) -> Tensor:
        """Return normalised actions [N, A] for an arrival after ``steps`` model steps, int64 [N].

        Policies that are not conditioned on arrival times ignore ``steps``.
        """
        del steps
        return self.decide(now, goal)

    def after_step(self) -> None:
        """Update target networks after a gradient step. Does nothing by default."""

    def embed(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return present and goal as one vector [N, D + D']."""
        encoder = self.goal_encoder
        return torch.cat([encoder.encode_now(now), encoder.encode_goal(goal)], dim=1)

    def squash(self, outputs: Tensor) -> Tensor:
        """Squash outputs of a network [..., A] into the range of actions in the data.

        Outside of this range, values are not learned.
        """
        low, high = self.action_low, self.action_high
        return low + (high - low) * (torch.tanh(outputs) + 1) / 2


class ActorPolicy(GoalPolicy):
    """A policy with a deterministic network ``actor``, whose outputs are squashed."""

    actor: nn.Module

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the policy's actions [N, A]."""
        return self.squash(self.actor(self.embed(now, goal)))
