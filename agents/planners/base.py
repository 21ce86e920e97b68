"""The planner contract: a cost function comes in, a plan goes out. A planner knows no model, world or logger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class CostFunction(Protocol):
    """Scores candidate plans."""

    def __call__(self, actions: Tensor) -> Tensor:
        """Returns costs [B, S] of actions [B, S, H, A]; lower is better, NaN counts as +inf. Differentiable if the model is."""
        ...


@dataclass(frozen=True, slots=True)
class ActionBounds:
    """Lowest and highest action of a model step [A], in the units that the cost function takes."""

    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        if not bool((self.low < self.high).all()):
            raise ValueError(f"Action bounds cross: low {self.low.tolist()}, high {self.high.tolist()}.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a planner found.

    Attributes:
        actions: the best plan of each problem [B, H, A], within the bounds.
        cost: its cost [B].
        num_evaluations: candidate plans scored, a problem (model steps = this x H).
        num_iterations: iterations of the search.
    """

    actions: Tensor
    cost: Tensor
    num_evaluations: int
    num_iterations: int


class Planner(Protocol):
    """A search over action sequences."""

    horizon: int

    def plan(
        self, cost: CostFunction, *, bounds: ActionBounds, initial: Tensor | None, generators: Sequence[torch.Generator]
    ) -> Plan:
        """Finds low-cost plans for B = len(generators) problems.

        Args:
            cost: what to minimise.
            bounds: limits that every candidate keeps.
            initial: warm start [B, H, A] or None for a cold one.
            generators: one random stream a problem; the same stream gives the same plan, alone or in a batch.
        """
        ...
