"""CMA-ES: a Gaussian search that learns correlations between actions.

The search uses the ``cmaes`` package.
"""

from __future__ import annotations

from dataclasses import dataclass

import cmaes
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.agents.planners.base import ActionBounds, Plan, SearchProblem
from jepabench.agents.planners.gaussian import SamplingPlanner
from jepabench.agents.planners.progress import BestSoFar, Progress
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class CMAESPlanner(SamplingPlanner):
    """Covariance matrix adaptation (Hansen and Ostermeier, 2001) over all H * A actions of a plan.

    CMA-ES learns correlations between the actions of a plan, which CEM ignores. The time of an
    iteration outside the model grows at least with (H A)^2.

    Attributes:
        num_samples: Number of candidates per iteration, at least 4.
        num_iterations: Generations.
        separable: Adapt variances only (Ros and Hansen, 2008): linear time, for long plans.
    """

    num_samples: int = 32
    num_iterations: int = 24
    separable: bool = False

    def __post_init__(self) -> None:
        SamplingPlanner.__post_init__(self)
        require_at_least(4, num_samples=self.num_samples)
        if not self.initial_std > 0:
            raise ValueError(f"initial_std must be above 0, got {self.initial_std}.")

    @torch.inference_mode()
    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems; see ``BasePlanner.search``."""
        start = problem.start
        searches = [
            self._make_search(plan, problem.bounds, stream)
            for plan, stream in zip(start, problem.generators, strict=True)
        ]
        best, progress = (
            BestSoFar(start),
            Progress(len(start), patience=self.patience, tolerance=self.tolerance),
        )
        best.update(start[:, None], problem.score(start[:, None]))
        for _ in range(self.num_iterations):
            active = progress.active
            asked = np.stack(
                [self._ask(search, go) for search, go in zip(searches, active, strict=True)]
            )
            shape = (*asked.shape[:2], *start.shape[1:])
            candidates = problem.clamp(torch.from_numpy(asked).to(start).reshape(shape))
            costs = problem.score(candidates)
            best.update(candidates, costs, active=active)
            for search, go, points, values in zip(
                searches, active, asked, costs.double().cpu().numpy(), strict=True
            ):
                if go and np.isfinite(values).any():
                    search.tell(list(zip(points, values, strict=True)))
            if not progress.update(best.cost, evaluations=self.num_samples):
                break
        return Plan(
            best.actions, best.cost, progress.evaluations(extra=1), int(progress.iterations.max())
        )

    def _make_search(
        self, start: Tensor, bounds: ActionBounds, stream: torch.Generator
    ) -> cmaes.CMA | cmaes.SepCMA:
        """Return the search of one problem, seeded from its stream."""
        limits = (
            torch.stack([bounds.low, bounds.high], dim=-1)
            .repeat(self.horizon, 1)
            .double()
            .cpu()
            .numpy()
        )
        return (cmaes.SepCMA if self.separable else cmaes.CMA)(
            mean=start.flatten().double().cpu().numpy(),
            sigma=min(self.initial_std, float((bounds.high - bounds.low).max())),
            bounds=limits,
            seed=int(torch.randint(2**31 - 1, (), generator=stream)),
            population_size=self.num_samples,
            # Clip instead of resampling: near the bounds almost no sample is feasible.
            n_max_resampling=1,
        )

    def _ask(self, search: cmaes.CMA | cmaes.SepCMA, active: Tensor) -> NDArray[np.float64]:
        """Return the next candidates [S, H * A]; the package gives them one by one."""
        if not active:
            return np.zeros((self.num_samples, search.dim))
        return np.stack([search.ask() for _ in range(self.num_samples)])
