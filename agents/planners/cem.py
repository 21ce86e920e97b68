"""The cross-entropy method: sample plans from a Gaussian, refit it to the best of them, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepabench.agents.planners.base import (
    ActionBounds,
    BasePlanner,
    CostFunction,
    Plan,
    require_at_least,
    score_candidates,
)
from jepabench.agents.planners.elites import select_elites
from jepabench.agents.planners.gaussian import GaussianSearch
from jepabench.envs.errors import unknown_name

RETURNS = ("best", "mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class CEMPlanner(BasePlanner):
    """Cross-entropy method with a diagonal Gaussian over [H, A] (Rubinstein, 1999; as used by
    DINO-WM and LeWM).

    Unlike these, this planner keeps every candidate within the bounds, has a minimum standard
    deviation, scores the mean in every iteration and at the end, and returns the best plan ever
    scored.

    Attributes:
        horizon: model steps of a plan.
        num_samples: number of candidates per iteration.
        num_elites: number of best candidates to which the Gaussian is refitted.
        num_iterations: rounds of sampling and refitting.
        initial_std, min_std: standard deviation at the start and its floor, in units of the cost
            function's actions.
        momentum: share of the old mean and standard deviation that a refit keeps, in [0, 1).
        returns: ``best`` plan ever scored, or the final ``mean``, which is steadier when the cost
            is noisy.
        colour: spectral exponent of the noise; see ``coloured_root``.
        patience, tolerance: a problem stops when its best cost has not fallen by more than the
            share ``tolerance`` within ``patience`` iterations. Patience 0 disables the stop.
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
        """Find low-cost plans for B problems; see ``Planner.plan``."""
        search = GaussianSearch(self, initial, bounds=bounds, generators=generators)
        others = search.mean[:, None]
        for iteration in range(self.num_iterations):
            # Sample candidates. The mean and, in the first iteration, all starts are among them.
            candidates = search.sample(self.num_samples)
            if iteration == 0:
                search.insert_starts(candidates)
            # Score the candidates and select the elites.
            costs = search.score(cost, candidates)
            elites = select_elites(candidates, costs, self.num_elites)
            # Refit the Gaussian to the elites.
            mean, std = elites.fit_gaussian(
                search.mean, search.std, momentum=self.momentum, min_std=self.min_std
            )
            search.refit(mean, std)
            others = search.select_active(elites.plans, others)
            # Stop when every problem has converged.
            if not search.progress.update(search.best.cost, evaluations=self.num_samples):
                break
        # Score the final mean, which was never a candidate.
        mean = search.clamped_mean()
        mean_cost = score_candidates(cost, mean[:, None])
        search.best.update(mean[:, None], mean_cost)
        actions, lowest = search.best.actions, search.best.cost
        if self.returns == "mean":
            actions, lowest = mean, mean_cost[:, 0]
        evaluations = search.progress.evaluations(extra=1)
        return Plan(actions, lowest, evaluations, int(search.progress.iterations.max()), others)
