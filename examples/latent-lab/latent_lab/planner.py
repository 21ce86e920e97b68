"""A planner: keep the best plans and perturb them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from jepabench.agents.planners.base import BasePlanner, Plan, SearchProblem
from jepabench.agents.planners.noise import draw_normal
from jepabench.agents.planners.progress import BestSoFar
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True)
class EvolutionPlanner(BasePlanner):
    """Keep the best plans and perturb them with less and less noise.

    Attributes:
        horizon: Model steps H of a plan.
        num_samples: Candidates S per iteration.
        num_elites: Plans that are kept.
        num_iterations: Iterations; the noise shrinks by a fifth in each.
    """

    horizon: int
    num_samples: int = 64
    num_elites: int = 8
    num_iterations: int = 8

    def __post_init__(self) -> None:
        require_at_least(
            1,
            horizon=self.horizon,
            num_samples=self.num_samples,
            num_elites=self.num_elites,
            num_iterations=self.num_iterations,
        )

    def search(self, problem: SearchProblem) -> Plan:
        """Return the best plan found for each of the B problems."""
        elites, best = problem.starts, BestSoFar(problem.start)
        scored, rows = 0, torch.arange(len(problem.generators))[:, None]
        for iteration in range(self.num_iterations):
            parents = elites[:, torch.arange(self.num_samples) % elites.shape[1]]
            noise = draw_normal(parents.shape[1:], problem.generators, like=parents)
            candidates = torch.cat([elites, problem.clamp(parents + 0.8**iteration * noise)], dim=1)
            costs = problem.score(candidates)
            scored += candidates.shape[1]
            best.update(candidates, costs)
            elites = candidates[rows, costs.argsort(dim=1)[:, : self.num_elites]]
        return Plan(best.actions, best.cost, scored, self.num_iterations)
