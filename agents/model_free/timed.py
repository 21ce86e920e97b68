"""Goal-conditioned cloning that is told when to arrive: what did the data do that was there k model steps later?

A policy that is not told has to average over those that hurried and those that took a detour. This one gives a plan for each
time of arrival, which makes it a proposal for a search over plans more than a policy of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from agents.model_free.hindsight import GoalBatch
from agents.model_free.networks import OfflineConfig, Sizes, mlp
from agents.model_free.offline import GoalPolicy, train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedConfig(OfflineConfig):
    """Times of arrival are 1 to ``max_goal_steps`` model steps.

    Attributes:
        history: frames that it sees, the present one among them: two show what moves.
    """

    max_goal_steps: int = 10
    history: int = 2


class TimedPolicy(GoalPolicy):
    """The mean action, regressed, by time of arrival."""

    name, config_type = "timed", TimedConfig

    def __init__(self, sizes: Sizes, config: OfflineConfig) -> None:
        super().__init__(sizes, config)
        self.max_steps = self.num_arrivals = config.max_goal_steps
        self.history = getattr(config, "history", 1)
        self.condition_size = self.history * sizes.now + sizes.goal + self.max_steps
        self.network = mlp(self.condition_size, sizes.action, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the mean squared error of the action."""
        del generator
        decided = self.network(self.condition(batch.recent(self.history), batch.goal, batch.steps))
        return (decided - batch.action).square().mean()

    def condition(self, recent: Tensor, goal: Tensor, steps: Tensor) -> Tensor:
        """Returns what the network is told [N, ``condition_size``]; steps are 1 to ``max_goal_steps``."""
        seen = [self.eyes.now(frame) for frame in recent[:, -self.history :].unbind(1)]
        goal = self.eyes.goal(goal)
        return torch.cat([*seen, goal, functional.one_hot(steps - 1, self.max_steps).to(goal)], dim=1)

    def decide_in(self, recent: Tensor, goal: Tensor, steps: Tensor) -> Tensor:
        """Returns the mean action [N, A] of those that arrived after so many model steps."""
        return self.network(self.condition(recent, goal, steps))

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the mean action [N, A] of those that were at rest and arrived after one model step."""
        recent = now[:, None].expand(-1, self.history, *now.shape[1:])
        return self.decide_in(recent, goal, torch.ones(len(now), dtype=torch.int64, device=now.device))


train = partial(train_policy, TimedPolicy)
