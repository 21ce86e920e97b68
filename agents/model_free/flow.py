"""Goal-conditioned cloning by flow matching: not the mean of what the data did, but draws from all that it did.

Where there are two ways round an object, their mean goes through it. A flow carries noise to actions along straight lines that
a network has learned (Lipman et al., 2023, arXiv 2210.02747; as a goal-conditioned policy, Park et al., 2025, arXiv 2502.02538), so each
draw takes one of the ways. It is told when to arrive, as ``timed`` is, and is a proposal for a search over plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from agents.model_free.hindsight import GoalBatch
from agents.model_free.networks import OfflineConfig, Sizes, mlp
from agents.model_free.offline import train_policy
from agents.model_free.timed import TimedConfig, TimedPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig(TimedConfig):
    """How it draws.

    Attributes:
        num_draws: plans proposed for each time of arrival; the first starts from no noise.
        flow_steps: Euler steps from noise to an action.
    """

    num_draws: int = 4
    flow_steps: int = 6


class FlowPolicy(TimedPolicy):
    """A velocity field over actions, given what was seen, the goal and the time of arrival."""

    name, config_type = "flow", FlowConfig

    def __init__(self, sizes: Sizes, config: OfflineConfig) -> None:
        super().__init__(sizes, config)
        assert isinstance(config, FlowConfig)
        self.num_draws, self.flow_steps = config.num_draws, config.flow_steps
        self.network = mlp(self.condition_size + sizes.action + 1, sizes.action, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the squared error of the velocity on the line from noise to the action, at a random point of it."""
        action = batch.action
        noise = torch.randn(action.shape, generator=generator)
        time = torch.rand(len(action), 1, generator=generator)
        condition = self.condition(batch.recent(self.history), batch.goal, batch.steps)
        velocity = self.network(torch.cat([condition, torch.lerp(noise, action, time), time], dim=1))
        return (velocity - (action - noise)).square().mean()

    def decide_in(self, recent: Tensor, goal: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
        """Returns actions [N, A] of those that arrived after so many model steps, one for each row of noise."""
        condition, action = self.condition(recent, goal, steps), noise
        for step in range(self.flow_steps):
            time = action.new_full((len(action), 1), step / self.flow_steps)
            action = action + self.network(torch.cat([condition, action, time], dim=1)) / self.flow_steps
        return action


train = partial(train_policy, FlowPolicy)
