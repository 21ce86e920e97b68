"""The cross-entropy method: sample plans from a Gaussian, refit it to the best of them, repeat."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from jepabench.agents.planners.base import (
    Plan,
    SearchProblem,
)
from jepabench.agents.planners.elites import select_elites
from jepabench.agents.planners.gaussian import ElitePlanner, GaussianSearch
from jepabench.envs.errors import unknown_name

RETURNS = ("best", "mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class CEMPlanner(ElitePlanner):
    """Cross-entropy method with a diagonal Gaussian over [H, A] (Rubinstein, 1999; as used by
    DINO-WM and LeWM).

    Unlike these, this planner keeps every candidate within the bounds, has a minimum standard
    deviation, scores the mean in every iteration and at the end, and returns the best plan ever
    scored.

    Attributes:
        horizon, num_samples, num_iterations, initial_std, min_std, colour, patience, tolerance: See
            ``GaussianPlanner``.
        num_elites, momentum: See ``ElitePlanner``.
        returns: ``best`` plan ever scored, or the final ``mean``, which is steadier when the cost
            is noisy.
    """

    returns: str = "best"

    def __post_init__(self) -> None:
        ElitePlanner.__post_init__(self)
        if self.returns not in RETURNS:
            raise unknown_name("value of returns", self.returns, RETURNS)

    @torch.inference_mode()
    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems; see ``BasePlanner.search``."""
        search = GaussianSearch(self, problem)
        others = search.mean[:, None]
        for iteration in range(self.num_iterations):
            # Sample candidates. The mean and, in the first iteration, all starts are among them.
            candidates = search.sample(self.num_samples)
            if iteration == 0:
                search.insert_starts(candidates)
            # Score the candidates and select the elites.
            costs = search.score(candidates)
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
        mean, cost = search.score_mean()
        plan = search.best_plan(extra=1, others=others)
        return replace(plan, actions=mean, cost=cost) if self.returns == "mean" else plan
