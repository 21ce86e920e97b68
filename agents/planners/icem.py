"""iCEM: the cross-entropy method with coloured noise, kept elites and a shrinking population."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from jepabench.agents.planners.base import Plan, SearchProblem
from jepabench.agents.planners.elites import select_elites
from jepabench.agents.planners.gaussian import ElitePlanner, GaussianSearch
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class ICEMPlanner(ElitePlanner):
    """Improved cross-entropy method (Pinneri et al., 2020), which needs fewer candidates than CEM.

    A share of the elites of an iteration is added to the candidates of the next one. The caller
    shifts elites of the last iteration and passes them to the next plan as further starts
    (``num_kept``). The mean is a candidate in every iteration; in the paper, only in the last one.
    The best plan ever scored is returned.

    Attributes:
        horizon, num_iterations, initial_std, min_std, patience, tolerance: See ``GaussianPlanner``.
        num_elites, momentum: See ``ElitePlanner``.
        num_samples: Candidates of the first iteration.
        decay: Factor by which the number of candidates shrinks per iteration; at least twice
            the number of elites are drawn.
        keep: Share of the elites that is kept, in [0, 1].
        colour: Spectral exponent of the noise; see ``coloured_root``. The paper uses 0.25 to
            3.5, with larger values for slower systems.
    """

    num_samples: int = 64
    num_elites: int = 8
    num_iterations: int = 4
    decay: float = 1.25
    keep: float = 0.3
    colour: float = 1.0
    momentum: float = 0.1

    def __post_init__(self) -> None:
        ElitePlanner.__post_init__(self)
        require_at_least(1, decay=self.decay)
        require_at_least(0, keep=self.keep)
        if self.keep > 1:
            raise ValueError(f"keep must be at most 1, got {self.keep}.")

    @property
    def num_kept(self) -> int:
        """Number of elites that are kept."""
        return int(self.keep * self.num_elites)

    def population(self, iteration: int) -> int:
        """Return the number of candidates that an iteration draws, without kept elites."""
        shrunk = int(self.num_samples * self.decay**-iteration)
        return min(self.num_samples, max(shrunk, 2 * self.num_elites))

    @torch.inference_mode()
    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems; see ``BasePlanner.search``."""
        search = GaussianSearch(self, problem)
        kept = problem.starts[:, 1:]
        for iteration in range(self.num_iterations):
            # Sample fewer candidates in each iteration, with coloured noise.
            drawn = search.sample(self.population(iteration))
            # Add the elites kept from the last iteration, or in the first one from the last plan.
            candidates = torch.cat([drawn, kept], dim=1)
            # Score the candidates and select the elites.
            costs = search.score(candidates)
            elites = select_elites(candidates, costs, self.num_elites)
            # Refit the Gaussian to the elites, with momentum.
            mean, std = elites.fit_gaussian(
                search.mean, search.std, momentum=self.momentum, min_std=self.min_std
            )
            search.refit(mean, std)
            # Keep a share of the elites.
            best = elites.plans[:, : self.num_kept]
            kept = best if iteration == 0 else search.select_active(best, kept)
            # Stop when every problem has converged.
            if not search.progress.update(search.best.cost, evaluations=candidates.shape[1]):
                break
        return search.best_plan(others=kept)
