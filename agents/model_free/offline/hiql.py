"""Hierarchical implicit Q-learning: one value and two policies (HIQL, Park et al., 2023).

The high-level policy chooses the representation of a subgoal some steps ahead, and the low-level
policy acts towards it. Both imitate the data with weights from the same value. The noise of this
value is large far from the goal, and subgoals make it less harmful.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from jepabench.agents.model_free.offline.agent import OfflineAgent
from jepabench.agents.model_free.offline.gcivl import GCIVLConfig, ValuePolicy
from jepabench.agents.model_free.offline.hindsight import GoalBatch
from jepabench.agents.model_free.offline.networks import Sizes, TwinCritic, mlp
from jepabench.agents.model_free.offline.training import train_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class HIQLConfig(GCIVLConfig):
    """Settings of HIQL, beside those of GCIVL.

    Attributes:
        subgoal_steps: Number of model steps to a subgoal.
        subgoal_size: Size of the representation of a subgoal, a unit vector.
    """

    subgoal_steps: int = 4
    subgoal_size: int = 10
    awr_temperature: float = 3.0


class HIQLPolicy(ValuePolicy):
    """Twin values of (present, representation of the goal), and two policies."""

    name, config_type = "hiql", HIQLConfig

    def __init__(self, sizes: Sizes, config: HIQLConfig) -> None:
        super().__init__(sizes, config)
        self.represent = mlp(sizes.now + sizes.goal, config.subgoal_size, config)
        self.value = TwinCritic(sizes.now + config.subgoal_size, 1, config)
        self.target = copy.deepcopy(self.value).requires_grad_(False)
        self.high_actor = mlp(sizes.now + sizes.goal, config.subgoal_size, config)
        self.low_actor = mlp(sizes.now + config.subgoal_size, sizes.action, config)

    def losses(self, batch: GoalBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of values and both policies."""
        del generator
        now, (frame, subgoal) = batch.now, batch.select_subgoal(self.config.subgoal_steps)
        value_loss = self.value_loss(
            self._embed_goal(now, batch.value_goal),
            self._embed_goal(batch.next, batch.value_goal),
            batch.reached,
        )
        with torch.no_grad():
            target = self._represent(now, subgoal)
        proposed = functional.normalize(self.high_actor(self.embed(now, batch.goal)), dim=1)
        high_weights = self.compute_weights(
            self._embed_goal(frame, batch.goal), self._embed_goal(now, batch.goal)
        )
        high_loss = (high_weights * (proposed - target).square().sum(1)).mean()
        action = self._act_low(now, self._represent(now, subgoal))
        low_weights = self.compute_weights(
            self._embed_goal(batch.next, subgoal), self._embed_goal(now, subgoal)
        )
        low_loss = (low_weights * (action - batch.action).square().mean(1)).mean()
        return {
            "value_loss": value_loss,
            "high_actor_loss": high_loss,
            "low_actor_loss": low_loss,
        }

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the low-level actions [N, A] towards the high-level policy's subgoal."""
        subgoal = functional.normalize(self.high_actor(self.embed(now, goal)), dim=1)
        return self._act_low(now, subgoal)

    def _represent(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the representations of goals, relative to the present, unit vectors [N, R]."""
        return functional.normalize(self.represent(self.embed(now, goal)), dim=1)

    def _embed_goal(self, now: Tensor, goal: Tensor) -> Tensor:
        return torch.cat([self.goal_encoder.encode_now(now), self._represent(now, goal)], dim=1)

    def _act_low(self, now: Tensor, subgoal: Tensor) -> Tensor:
        inputs = torch.cat([self.goal_encoder.encode_now(now), subgoal], dim=1)
        return self.squash(self.low_actor(inputs))


train = partial(train_policy, HIQLPolicy)


class HIQLAgent(OfflineAgent):
    """Acts with both policies of HIQL."""

    policy_type = HIQLPolicy
