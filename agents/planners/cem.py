"""The cross-entropy method: sample plans from a Gaussian, refit it to the best of them, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepabench.agents.planners.base import (
    ActionBounds,
    BestSoFar,
    CostFunction,
    Plan,
    Progress,
    draw_normal,
    require_at_least,
    scored,
    starting_plans,
)
from jepabench.agents.planners.elites import select
from jepabench.envs.registry import unknown_name

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
        colour: of the noise; see ``coloured_root``.
        patience, tolerance: a problem stops when its best cost fell by no more than the share ``tolerance`` within
            ``patience`` iterations; patience 0 for never.
    """

    horizon: int = 5
    num_samples: int = 128
    num_elites: int = 16
    num_iterations: int = 6
    initial_std: float = 1.0
    min_std: float = 0.05
    momentum: float = 0.0
    returns: str = "best"
    colour: float = 0.0
    patience: int = 0
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        require_at_least(
            1, horizon=self.horizon, num_iterations=self.num_iterations, num_elites=self.num_elites
        )
        require_at_least(
            0, initial_std=self.initial_std, min_std=self.min_std, momentum=self.momentum
        )
        require_at_least(0, colour=self.colour, patience=self.patience, tolerance=self.tolerance)
        if self.num_elites > self.num_samples:
            raise ValueError(
                f"num_elites is at most num_samples = {self.num_samples}, got {self.num_elites}."
            )
        if self.momentum >= 1:
            raise ValueError(
                f"momentum is below 1, got {self.momentum}: nothing would ever be refitted."
            )
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
        starts = starting_plans(initial, bounds=bounds, horizon=self.horizon, generators=generators)
        mean = starts[:, 0]
        std, others = torch.full_like(mean, self.initial_std), mean[:, None]
        best, progress = (
            BestSoFar(mean),
            Progress(len(mean), patience=self.patience, tolerance=self.tolerance),
        )
        for iteration in range(self.num_iterations):
            active = progress.active
            shape = (self.num_samples, *mean.shape[1:])
            noise = draw_normal(shape, generators, like=mean, colour=self.colour, active=active)
            noise[:, 0] = 0  # the mean is a candidate
            candidates = (
                noise.mul_(std[:, None]).add_(mean[:, None]).clamp_(bounds.low, bounds.high)
            )
            if iteration == 0:  # and so are the other starts
                given = starts[:, : self.num_samples]
                candidates[:, : given.shape[1]] = given
            costs = scored(cost, candidates)
            best.update(candidates, costs, active=active)
            elites = select(candidates, costs, self.num_elites)
            fitted = elites.gaussian(mean, std, momentum=self.momentum, min_std=self.min_std)
            mean, std = (
                torch.where(active[:, None, None], *pair)
                for pair in zip(fitted, (mean, std), strict=True)
            )
            others = torch.where(active[:, None, None, None], elites.plans, others)
            if not progress.update(best.cost, evaluations=self.num_samples):
                break
        mean = mean.clamp(
            bounds.low, bounds.high
        )  # a mean of elites on a bound may round to just outside
        mean_cost = scored(cost, mean[:, None])
        best.update(mean[:, None], mean_cost)
        found = (mean, mean_cost[:, 0]) if self.returns == "mean" else (best.actions, best.cost)
        return Plan(*found, progress.evaluations(extra=1), int(progress.iterations.max()), others)
