"""Adaptive planning: repeat a search until further rounds no longer reduce the cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from jepabench.agents.planners.base import Plan, Planner, SearchProblem, WrappingPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.progress import BestSoFar, has_improved
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptivePlanner(WrappingPlanner):
    """Repeats a small search from the best plan so far, and stops each problem on its own.

    A problem stops when its goal is predicted to be reached, or when ``patience`` rounds in a row
    have not improved the cost by more than the share ``tolerance``. A problem whose first search
    reaches the goal takes one round; one that is blocked by a wall takes up to ``max_rounds``.

    Attributes:
        planner: The search of a round.
        max_rounds: Maximum number of rounds.
        reached_cost: Cost at or below which the goal counts as reached, in units of the cost
            function; 0 disables this stop. Two unrelated latents of unit variance have a mean
            squared distance of about 2.
        patience, tolerance: See above.
    """

    planner: Planner = field(default_factory=lambda: ICEMPlanner(num_iterations=2))
    max_rounds: int = 8
    reached_cost: float = 0.0
    patience: int = 1
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        require_at_least(1, max_rounds=self.max_rounds, patience=self.patience)
        require_at_least(0, reached_cost=self.reached_cost, tolerance=self.tolerance)

    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems; see ``BasePlanner.search``."""
        cost, bounds, generators = problem.cost, problem.bounds, problem.generators
        found = self.planner.plan(
            cost, bounds=bounds, initial=problem.starts, generators=generators
        )
        best, others = BestSoFar(found.actions), found.others
        best.update(found.actions[:, None], found.cost[:, None])
        evaluations = np.zeros(len(generators), dtype=np.int64) + found.num_evaluations
        iterations = found.num_iterations
        waited = torch.zeros(len(generators), dtype=torch.int64, device=best.cost.device)
        active = best.cost > self.reached_cost
        for _ in range(self.max_rounds - 1):
            if not active.any():
                break
            # A problem that has stopped must not advance its random stream: its next plan would
            # depend on the other problems of the batch.
            streams = [
                s if go else torch.Generator() for s, go in zip(generators, active, strict=True)
            ]
            before = best.cost
            found = self.planner.plan(cost, bounds=bounds, initial=best.actions, generators=streams)
            best.update(found.actions[:, None], found.cost[:, None], active=active)
            if others is not None and found.others is not None:
                others = torch.where(active[:, None, None, None], found.others, others)
            evaluations += np.where(active.cpu().numpy(), found.num_evaluations, 0)
            iterations += found.num_iterations
            progress = has_improved(before, best.cost, tolerance=self.tolerance)
            waited = torch.where(progress, 0, waited + 1)
            active &= (best.cost > self.reached_cost) & (waited < self.patience)
        return Plan(best.actions, best.cost, evaluations, iterations, others)
