"""The planner contract: a cost function comes in, a plan goes out. A planner knows no model, world or logger.

Actions are in the units of the cost function; planning over a learned model, that is normalised model-step actions.
Below the contract are the few operations that all searches share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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

    @property
    def horizon(self) -> int:
        """Model steps H of a plan."""
        ...

    def plan(
        self, cost: CostFunction, *, bounds: ActionBounds, initial: Tensor | None, generators: Sequence[torch.Generator]
    ) -> Plan:
        """Finds low-cost plans for B = len(generators) problems.

        Args:
            cost: what to minimise.
            bounds: limits that every candidate keeps.
            initial: warm start [B, H, A] or None for a cold one, which is the action 0 (or the bound nearest to it).
            generators: one random stream a problem; the same stream gives the same plan, alone or in a batch.
        """
        ...


def starting_plan(
    initial: Tensor | None, *, bounds: ActionBounds, horizon: int, generators: Sequence[torch.Generator]
) -> Tensor:
    """Returns the plan [B, H, A] that a search starts from, within the bounds.

    Raises:
        ValueError: no problem at all, or a warm start of the wrong shape.
    """
    if not generators:
        raise ValueError("Planning needs one generator for each problem, got none.")
    shape = (len(generators), horizon, len(bounds.low))
    if initial is None:
        initial = bounds.low.new_zeros(shape)
    if initial.shape != shape:
        raise ValueError(f"A warm start has shape [B, H, A] = {shape}, got {tuple(initial.shape)}.")
    return torch.clamp(initial, bounds.low, bounds.high)


def draw_normal(shape: Sequence[int], generators: Sequence[torch.Generator], *, like: Tensor) -> Tensor:
    """Returns standard normal noise [B, *shape]; each problem's comes from its own stream."""
    noise = like.new_empty((len(generators), *shape))
    for row, generator in zip(noise, generators, strict=True):
        row.normal_(generator=generator)
    return noise


def scored(cost: CostFunction, actions: Tensor) -> Tensor:
    """Returns costs [B, S] of candidates [B, S, H, A] with NaN as +inf.

    Raises:
        ValueError: the cost function gave another shape.
    """
    costs = cost(actions)
    if costs.shape != actions.shape[:2]:
        raise ValueError(f"A cost function gives [B, S] = {tuple(actions.shape[:2])}, got {tuple(costs.shape)}.")
    return torch.where(costs.isnan(), torch.inf, costs)


class BestSoFar:
    """Keeps the best candidate of each problem over the iterations of a search.

    It begins with a plan of unknown cost, so that a search in which every cost is NaN still returns one within bounds.
    """

    def __init__(self, start: Tensor) -> None:
        self.actions = start.clone()
        self.cost = start.new_full((len(start),), torch.inf)

    def update(self, actions: Tensor, costs: Tensor) -> None:
        """Takes note of candidates [B, S, H, A] and their costs [B, S]."""
        lowest, index = costs.min(1)
        better = lowest < self.cost
        chosen = actions[torch.arange(len(actions)), index]
        self.actions = torch.where(better[:, None, None], chosen, self.actions)
        self.cost = torch.where(better, lowest, self.cost)


def require_at_least(minimum: float, **values: Any) -> None:
    """Refuses settings below ``minimum``, by name.

    Raises:
        ValueError: names the setting, what was got and what is allowed.
    """
    for name, value in values.items():
        if not value >= minimum:
            raise ValueError(f"{name} is at least {minimum}, got {value}.")
