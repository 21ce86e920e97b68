"""Goal-conditioned behaviour cloning that is conditioned on the time of arrival.

An unconditioned policy averages over direct trajectories and detours. This policy returns a plan
for each time of arrival. The plans are meant as proposals for a planner.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from jepabench.agents.model_free.offline.hindsight import GoalBatch
from jepabench.agents.model_free.offline.networks import OfflineConfig, Sizes, mlp
from jepabench.agents.model_free.offline.policy import GoalPolicy
from jepabench.agents.model_free.offline.training import train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedConfig(OfflineConfig):
    """Settings of timed cloning. Times of arrival are 1 to ``max_goal_steps`` model steps."""

    max_goal_steps: int = 10


class TimedPolicy(GoalPolicy):
    """A network that predicts the mean action from present, goal and time of arrival."""

    name, config_type = "timed", TimedConfig

    def __init__(self, sizes: Sizes, config: OfflineConfig) -> None:
        super().__init__(sizes, config)
        self.max_steps = self.num_arrivals = config.max_goal_steps
        self.network = mlp(sizes.now + sizes.goal + self.max_steps, sizes.action, config)

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean squared error of the action."""
        del generator
        error = self.decide_in(batch.now, batch.goal, batch.steps) - batch.action
        return {"actor_loss": error.square().mean()}

    def decide_in(self, now: Tensor, goal: Tensor, steps: Tensor) -> Tensor:
        """Return the mean action [N, A] for an arrival in 1 to ``max_goal_steps`` steps."""
        embedded = self.embed(now, goal)
        arrival = functional.one_hot(steps - 1, self.max_steps).to(embedded)
        return self.network(torch.cat([embedded, arrival], dim=1))

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the mean action [N, A] for an arrival after one model step."""
        return self.decide_in(now, goal, torch.ones(len(now), dtype=torch.int64, device=now.device))


train = partial(train_policy, TimedPolicy)
