"""Hierarchical implicit Q-learning: one value, two policies (Park et al., 2023).

The upper policy says in which representation of a subgoal to be some steps from now, the lower one how to get there. Both
clone the data with weights from the same value, whose noise far from a goal then matters less.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from jepabench.agents.model_free.offline.gcivl import GCIVLConfig, ValuePolicy
from jepabench.agents.model_free.offline.hindsight import GoalBatch
from jepabench.agents.model_free.offline.networks import Pair, Sizes, mlp
from jepabench.agents.model_free.offline.training import OfflineAgent, train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class HIQLConfig(GCIVLConfig):
    """Settings of HIQL: those of GCIVL and its own.

    Attributes:
        subgoal_steps: model steps to a subgoal.
        subgoal_size: of its representation, a direction.
    """

    subgoal_steps: int = 4
    subgoal_size: int = 10
    sharpness: float = 3.0


class HIQLPolicy(ValuePolicy):
    """Values over (now, representation of a goal seen from now), an upper and a lower policy."""

    name, config_type = "hiql", HIQLConfig

    def __init__(self, sizes: Sizes, config: HIQLConfig) -> None:
        super().__init__(sizes, config)
        self.represent = mlp(sizes.now + sizes.goal, config.subgoal_size, config)
        self.value = Pair(sizes.now + config.subgoal_size, 1, config)
        self.target = copy.deepcopy(self.value).requires_grad_(False)
        self.upper = mlp(sizes.now + sizes.goal, config.subgoal_size, config)
        self.lower = mlp(sizes.now + config.subgoal_size, sizes.action, config)

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the losses of values and both policies."""
        del generator
        now, subgoal = batch.now, batch.on_the_way(self.config.subgoal_steps)
        values = self.value_loss(
            self._toward(now, batch.value_goal),
            self._toward(batch.next, batch.value_goal),
            batch.reached,
        )
        with torch.no_grad():
            direction = self._direction(now, subgoal[1])
        proposed = functional.normalize(self.upper(self.pair(now, batch.goal)), dim=1)
        upper_weights = self.weights(
            self._toward(subgoal[0], batch.goal), self._toward(now, batch.goal)
        )
        upper = (upper_weights * (proposed - direction).square().sum(1)).mean()
        action = self._lower(now, self._direction(now, subgoal[1]))
        lower_weights = self.weights(
            self._toward(batch.next, subgoal[1]), self._toward(now, subgoal[1])
        )
        return values + upper + (lower_weights * (action - batch.action).square().mean(1)).mean()

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the lower policy's actions [N, A] towards the upper one's subgoal."""
        return self._lower(now, functional.normalize(self.upper(self.pair(now, goal)), dim=1))

    def _direction(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns the representation of goals seen from now, unit vectors [N, subgoal_size]."""
        return functional.normalize(self.represent(self.pair(now, goal)), dim=1)

    def _toward(self, now: Tensor, goal: Tensor) -> Tensor:
        return torch.cat([self.eyes.now(now), self._direction(now, goal)], dim=1)

    def _lower(self, now: Tensor, direction: Tensor) -> Tensor:
        return self.bounded(self.lower(torch.cat([self.eyes.now(now), direction], dim=1)))


train = partial(train_policy, HIQLPolicy)


class HIQLAgent(OfflineAgent):
    """Acts with both policies of HIQL."""

    policy_type = HIQLPolicy
