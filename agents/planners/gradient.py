"""Planning by gradient: differentiate the cost through the model and descend on the actions, from several starts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.planners.base import (
    ActionBounds,
    BestSoFar,
    CostFunction,
    Plan,
    draw_normal,
    require_at_least,
    scored,
    starting_plan,
)
from envs.registry import unknown_name

BOUNDS_BY = ("projection", "tanh")


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientPlanner:
    """Adam (Kingma and Ba, 2015) on the actions of ``num_starts`` plans in parallel; the best plan ever scored wins.

    One start is the warm start, the others are Gaussian around it. Each iteration is one forward and one backward pass
    over all of them; the starts do not influence each other.

    Attributes:
        horizon: model steps of a plan.
        num_starts: plans that descend side by side.
        num_iterations: gradient steps.
        learning_rate: size of Adam's first steps, in units of the cost function's actions; it falls linearly to a tenth.
        initial_std: spread of the random starts, same units.
        noise_std: noise added to the actions after each step, same units; it decays linearly to 0. Never on the warm start.
        bounds_by: ``projection`` clamps after each step; ``tanh`` descends on u with action = middle + half range * tanh(u),
            which needs finite bounds.
    """

    horizon: int = 5
    num_starts: int = 16
    num_iterations: int = 30
    learning_rate: float = 0.3
    initial_std: float = 1.0
    noise_std: float = 0.0
    bounds_by: str = "projection"

    def __post_init__(self) -> None:
        require_at_least(1, horizon=self.horizon, num_starts=self.num_starts, num_iterations=self.num_iterations)
        require_at_least(0, learning_rate=self.learning_rate, initial_std=self.initial_std, noise_std=self.noise_std)
        if self.bounds_by not in BOUNDS_BY:
            raise unknown_name("value of bounds_by", self.bounds_by, BOUNDS_BY)

    @torch.enable_grad()
    def plan(
        self,
        cost: CostFunction,
        *,
        bounds: ActionBounds,
        initial: Tensor | None = None,
        generators: Sequence[torch.Generator],
    ) -> Plan:
        """Finds low-cost plans for B problems; see ``Planner.plan``.

        Raises:
            ValueError: the cost does not depend on the actions differentiably, or ``tanh`` without finite bounds.
        """
        start = starting_plan(initial, bounds=bounds, horizon=self.horizon, generators=generators)
        squash = _Squash(bounds) if self.bounds_by == "tanh" else None
        best = BestSoFar(start)
        free = self._starts(start, bounds, generators)
        if squash:
            free = squash.inverse(free)
        free.requires_grad_(True)
        optimizer = torch.optim.Adam([free], lr=self.learning_rate)
        for iteration in range(self.num_iterations):
            left = 1 - iteration / self.num_iterations
            optimizer.param_groups[0]["lr"] = self.learning_rate * (0.1 + 0.9 * left)
            optimizer.zero_grad()
            actions = squash(free) if squash else free
            costs = scored(cost, actions)
            best.update(actions.detach(), costs.detach())
            _backward(costs, free)
            optimizer.step()
            with torch.no_grad():
                if self.noise_std > 0 and self.num_starts > 1:
                    noise = draw_normal((self.num_starts - 1, *start.shape[1:]), generators, like=start)
                    free[:, 1:] += noise * (self.noise_std * (left - 1 / self.num_iterations))
                if not squash:
                    free.clamp_(bounds.low, bounds.high)
        with torch.no_grad():
            actions = squash(free) if squash else free.detach()
            best.update(actions, scored(cost, actions))
        return Plan(best.actions, best.cost, self.num_starts * (self.num_iterations + 1), self.num_iterations)

    def _starts(self, start: Tensor, bounds: ActionBounds, generators: Sequence[torch.Generator]) -> Tensor:
        """Returns the first candidates [B, S, H, A]; number 0 is the warm start."""
        noise = draw_normal((self.num_starts, *start.shape[1:]), generators, like=start) * self.initial_std
        noise[:, 0] = 0
        return (start[:, None] + noise).clamp(bounds.low, bounds.high)


class _Squash:
    """Maps all of R into the bounds, smoothly."""

    def __init__(self, bounds: ActionBounds) -> None:
        if not bool((bounds.low.isfinite() & bounds.high.isfinite()).all()):
            raise ValueError("bounds_by='tanh' needs finite bounds; use bounds_by='projection'.")
        self.bounds = bounds
        self.middle, self.half = (bounds.high + bounds.low) / 2, (bounds.high - bounds.low) / 2

    def __call__(self, free: Tensor) -> Tensor:
        # Middle plus half a range may round to just outside.
        return (self.middle + self.half * free.tanh()).clamp(self.bounds.low, self.bounds.high)

    def inverse(self, actions: Tensor) -> Tensor:
        # A start on a bound would be at infinity, where the gradient is 0.
        return ((actions - self.middle) / self.half).clamp(-0.99, 0.99).atanh()


def _backward(costs: Tensor, free: Tensor) -> None:
    """Writes the gradient of each candidate's cost; those that are not finite stay where they are."""
    if not costs.requires_grad:
        raise ValueError(
            "The cost does not depend differentiably on the actions; use a planner that only samples (CEM)."
        )
    torch.where(costs.isfinite(), costs, 0.0).sum().backward(inputs=[free])
    if free.grad is not None:
        free.grad.nan_to_num_(0.0, 0.0, 0.0)
