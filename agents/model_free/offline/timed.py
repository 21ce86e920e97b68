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

from jepabench.agents.model_free.offline.hindsight import GoalBatch
from jepabench.agents.model_free.offline.networks import OfflineConfig, Sizes, mlp
from jepabench.agents.model_free.offline.training import GoalPolicy, train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedConfig(OfflineConfig):
    """Times of arrival are 1 to ``max_goal_steps`` model steps."""

    max_goal_steps: int = 10


class TimedPolicy(GoalPolicy):
    """The mean action, regressed, by time of arrival."""

    name, config_type = "timed", TimedConfig

    def __init__(self, sizes: Sizes, config: OfflineConfig) -> None:
        super().__init__(sizes, config)
        self.max_steps = self.num_arrivals = config.max_goal_steps
        self.network = mlp(sizes.now + sizes.goal + self.max_steps, sizes.action, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the mean squared error of the action."""
        del generator
        return (self.decide_in(batch.now, batch.goal, batch.steps) - batch.action).square().mean()

    def decide_in(self, now: Tensor, goal: Tensor, steps: Tensor) -> Tensor:
        """Returns the mean action [N, A] of those that arrived after so many model steps, 1 to ``max_goal_steps``."""
        pair = self.pair(now, goal)
        return self.network(
            torch.cat([pair, functional.one_hot(steps - 1, self.max_steps).to(pair)], dim=1)
        )

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the mean action [N, A] of those that arrived after one model step."""
        return self.decide_in(now, goal, torch.ones(len(now), dtype=torch.int64, device=now.device))


train = partial(train_policy, TimedPolicy)
