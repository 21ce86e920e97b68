"""iCEM: the cross-entropy method with coloured noise, kept elites and a shrinking population."""

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
)
from jepabench.agents.planners.elites import select_elites
from jepabench.agents.planners.gaussian import GaussianSearch


@dataclass(frozen=True, slots=True, kw_only=True)
class ICEMPlanner(BasePlanner):
    """Improved cross-entropy method (Pinneri et al., 2020), which needs fewer candidates than CEM.

    A share of the elites of an iteration is added to the candidates of the next one. The caller
    shifts elites of the last iteration and passes them to the next plan as further starts
    (``num_kept``). The mean is a candidate in every iteration; in the paper, only in the last one.
    The best plan ever scored is returned.

    Attributes:
        horizon: model steps of a plan.
        num_samples: candidates of the first iteration.
        num_elites: number of best candidates to which the Gaussian is refitted.
        num_iterations: rounds of sampling and refitting.
        decay: factor by which the number of candidates shrinks per iteration; at least twice
            the number of elites are drawn.
        keep: share of the elites that is kept, in [0, 1].
        colour: spectral exponent of the noise; see ``coloured_root``. The paper uses 0.25 to
            3.5, with larger values for slower systems.
        initial_std, min_std: standard deviation at the start and its floor, in units of the cost
            function's actions.
        momentum: share of the old mean and standard deviation that a refit keeps, in [0, 1).
        patience, tolerance: a problem stops when its best cost has not fallen by more than the
            share ``tolerance`` within ``patience`` iterations. Patience 0 disables the stop.
    """

    horizon: int = 5
    num_samples: int = 64
    num_elites: int = 8
    num_iterations: int = 4
    decay: float = 1.25
    keep: float = 0.3
    colour: float = 1.0
    initial_std: float = 1.0
    min_std: float = 0.05
    momentum: float = 0.1
    patience: int = 0
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        require_at_least(
            1, horizon=self.horizon, num_iterations=self.num_iterations, num_elites=self.num_elites
        )
        require_at_least(1, decay=self.decay)
        require_at_least(
            0,
            initial_std=self.initial_std,
            min_std=self.min_std,
            momentum=self.momentum,
            keep=self.keep,
        )
        require_at_least(0, colour=self.colour, patience=self.patience, tolerance=self.tolerance)
        if self.num_elites > self.num_samples:
            raise ValueError(
                f"num_elites is at most num_samples = {self.num_samples}, got {self.num_elites}."
            )
        if self.momentum >= 1 or self.keep > 1:
            raise ValueError(
                f"momentum is below 1 and keep at most 1, got {self.momentum} and {self.keep}."
            )

    @property
    def num_kept(self) -> int:
        """Number of elites that are kept."""
        return int(self.keep * self.num_elites)

    def population(self, iteration: int) -> int:
        """Return the number of candidates that an iteration draws, without kept elites."""
        shrunk = int(self.num_samples * self.decay**-iteration)
        return min(self.num_samples, max(shrunk, 2 * self.num_elites))

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
        kept = search.starts[:, 1:]
        for iteration in range(self.num_iterations):
            # Sample fewer candidates in each iteration, with coloured noise.
            drawn = search.sample(self.population(iteration))
            # Add the elites kept from the last iteration, or in the first one from the last plan.
            candidates = torch.cat([drawn, kept], dim=1)
            # Score the candidates and select the elites.
            costs = search.score(cost, candidates)
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
        return Plan(
            search.best.actions,
            search.best.cost,
            search.progress.evaluations(),
            int(search.progress.iterations.max()),
            kept,
        )
