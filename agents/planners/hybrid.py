"""A hybrid planner: sampling finds starts, and gradient descent refines them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from jepabench.agents.planners.base import BasePlanner, Plan, Planner, SearchProblem
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.gradient import GradientPlanner


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridPlanner(BasePlanner):
    """A sampling search whose best plans are refined in parallel by gradient descent.

    Attributes:
        sampler: A search that keeps its elites (``Plan.others``), such as CEM.
        refiner: Gradient descent, which refines ``num_starts`` of the elites.
    """

    sampler: Planner = field(
        default_factory=lambda: CEMPlanner(num_samples=96, num_elites=12, num_iterations=4)
    )
    refiner: GradientPlanner = field(
        default_factory=lambda: GradientPlanner(
            num_starts=8, num_iterations=10, learning_rate=0.1, initial_std=0.1
        )
    )

    def __post_init__(self) -> None:
        if self.sampler.horizon != self.refiner.horizon:
            raise ValueError(
                "The two searches of a hybrid must have the same horizon, "
                f"got {self.sampler.horizon} and {self.refiner.horizon}."
            )

    @property
    def horizon(self) -> int:
        """Model steps of a plan."""
        return self.sampler.horizon

    @property
    def num_kept(self) -> int:
        """Runners-up from which the next search of the sampler starts."""
        return self.sampler.num_kept

    def with_horizon(self, horizon: int) -> HybridPlanner:
        """Return the same search over plans of ``horizon`` model steps."""
        refiner = replace(self.refiner, horizon=horizon)
        return replace(self, sampler=self.sampler.with_horizon(horizon), refiner=refiner)

    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems; see ``BasePlanner.search``."""
        cost, bounds, generators = problem.cost, problem.bounds, problem.generators
        found = self.sampler.plan(
            cost, bounds=bounds, initial=problem.starts, generators=generators
        )
        starts = found.actions[:, None]
        if found.others is not None:
            starts = torch.cat(
                [starts, found.others[:, 1:]], dim=1
            )  # the best of them is the plan itself, or nearly
        # Copy, because inference-mode tensors cannot take part in a backward pass.
        refined = self.refiner.plan(
            cost, bounds=bounds, initial=starts.clone(), generators=generators
        )
        better = refined.cost < found.cost
        return Plan(
            torch.where(better[:, None, None], refined.actions, found.actions),
            torch.where(better, refined.cost, found.cost),
            found.num_evaluations + refined.num_evaluations,
            found.num_iterations + refined.num_iterations,
            found.others,
        )
