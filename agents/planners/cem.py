"""The cross-entropy method: sample plans from a Gaussian, refit it to the best of them, repeat."""

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

RETURNS = ("best", "mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class CEMPlanner:
    """Cross-entropy method with a diagonal Gaussian over [H, A] (Rubinstein, 1999; as used by DINO-WM and LeWM).

    Unlike theirs it keeps every candidate within the bounds, has a floor under the standard deviation, scores the mean
    in every iteration and at the end, and returns the best plan that it ever scored.

    Attributes:
        horizon: model steps of a plan.
        num_samples: candidates of an iteration.
        num_elites: the best of them, which the Gaussian is refitted to.
        num_iterations: rounds of sampling and refitting.
        initial_std, min_std: standard deviation at the start and its floor, in units of the cost function's actions.
        momentum: share of the old mean and standard deviation that a refit keeps, 0 up to but not 1.
        returns: ``best`` plan ever scored, or the final ``mean``, which is steadier when the cost is noisy.
    """

    horizon: int = 5
    num_samples: int = 128
    num_elites: int = 16
    num_iterations: int = 6
    initial_std: float = 1.0
    min_std: float = 0.05
    momentum: float = 0.0
    returns: str = "best"

    def __post_init__(self) -> None:
        require_at_least(1, horizon=self.horizon, num_iterations=self.num_iterations, num_elites=self.num_elites)
        require_at_least(0, initial_std=self.initial_std, min_std=self.min_std, momentum=self.momentum)
        if self.num_elites > self.num_samples:
            raise ValueError(f"num_elites is at most num_samples = {self.num_samples}, got {self.num_elites}.")
        if self.momentum >= 1:
            raise ValueError(f"momentum is below 1, got {self.momentum}: nothing would ever be refitted.")
        if self.returns not in RETURNS:
            raise unknown_name("value of returns", self.returns, RETURNS)

    @torch.inference_mode()
    def plan(
        self,
        cost: CostFunction,
        *,
        bounds: ActionBounds,
        initial: Tensor | None = None,
        generators: Sequence[torch.Generator],
    ) -> Plan:
        """Finds low-cost plans for B problems; see ``Planner.plan``."""
        mean = starting_plan(initial, bounds=bounds, horizon=self.horizon, generators=generators)
        std = torch.full_like(mean, self.initial_std)
        best = BestSoFar(mean)
        for _ in range(self.num_iterations):
            noise = draw_normal((self.num_samples, *mean.shape[1:]), generators, like=mean)
            noise[:, 0] = 0  # the mean is a candidate
            candidates = noise.mul_(std[:, None]).add_(mean[:, None]).clamp_(bounds.low, bounds.high)
            costs = scored(cost, candidates)
            best.update(candidates, costs)
            mean, std = self._refit(candidates, costs, mean, std)
        mean = mean.clamp(bounds.low, bounds.high)  # a mean of elites on a bound may round to just outside
        mean_cost = scored(cost, mean[:, None])
        best.update(mean[:, None], mean_cost)
        num_evaluations = self.num_samples * self.num_iterations + 1
        if self.returns == "mean":
            return Plan(mean, mean_cost[:, 0], num_evaluations, self.num_iterations)
        return Plan(best.actions, best.cost, num_evaluations, self.num_iterations)

    def _refit(self, candidates: Tensor, costs: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the next mean and standard deviation, [B, H, A] each."""
        order = costs.argsort(dim=1, stable=True)[:, : self.num_elites]
        elites = candidates[torch.arange(len(candidates))[:, None], order]
        # A candidate of infinite cost is no elite, however few others there are; without any, nothing is learned.
        counts = costs.gather(1, order).isfinite().to(candidates)[..., None, None]
        total = counts.sum(1)
        elite_mean = (elites * counts).sum(1) / total.clamp(min=1)
        elite_std = ((elites - elite_mean[:, None]).square() * counts).sum(1).div(total.clamp(min=1)).sqrt()
        keep = torch.where(total > 0, self.momentum, 1.0)
        return mean.lerp(elite_mean, 1 - keep), std.lerp(elite_std, 1 - keep).clamp(min=self.min_std)
