"""Model predictive path integral control: average all candidates, weighted by their cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jepabench.agents.planners.base import (
    Plan,
    SearchProblem,
)
from jepabench.agents.planners.gaussian import GaussianPlanner, GaussianSearch


@dataclass(frozen=True, slots=True, kw_only=True)
class MPPIPlanner(GaussianPlanner):
    """Model predictive path integral control (Williams et al., 2017).

    The mean plan moves to the average of all candidates, weighted by exp(-(cost - lowest cost) /
    temperature). There are several iterations per plan. With ``adapt_std``, the standard deviation
    is refitted with the same weights, as in TD-MPC2. The temperature divides the cost; in PLDM and
    eb_jepa a parameter of that name multiplies it. The better of the mean and the best candidate is
    returned.

    Attributes:
        horizon, num_samples, num_iterations, initial_std, min_std, colour, patience, tolerance: See
            ``GaussianPlanner``.
        temperature: Above 0. As it approaches 0, only the best candidate counts. The unit is the
            standard deviation of the candidates' costs if ``relative``, else that of the cost.
        relative: See ``temperature``; makes the temperature independent of the scale of the cost.
        adapt_std: Refit the standard deviation; else it stays at ``initial_std``.
    """

    temperature: float = 0.1
    relative: bool = True
    adapt_std: bool = True

    def __post_init__(self) -> None:
        GaussianPlanner.__post_init__(self)
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}.")

    @torch.inference_mode()
    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems; see ``BasePlanner.search``."""
        search = GaussianSearch(self, problem)
        for iteration in range(self.num_iterations):
            # Sample candidates. The mean and, in the first iteration, all starts are among them.
            candidates = search.sample(self.num_samples)
            if iteration == 0:
                search.insert_starts(candidates)
            # Score the candidates and turn their costs into weights.
            weights = self.weights(search.score(candidates))
            # Move the Gaussian to the weighted average of all candidates.
            search.refit(*self._average(candidates, weights, search.mean, search.std))
            # Stop when every problem has converged.
            if not search.progress.update(search.best.cost, evaluations=self.num_samples):
                break
        # Score the final mean, which was never a candidate.
        search.score_mean()
        return search.best_plan(extra=1)

    def weights(self, costs: Tensor) -> Tensor:
        """Return the weights of candidates [B, S], which sum to 1.

        Infinite costs have weight 0. If all costs are infinite, all weights are 0.
        """
        finite = costs.isfinite()
        above = torch.where(finite, costs - costs.min(1, keepdim=True).values, 0.0)
        temperature = torch.full_like(above[:, :1], self.temperature)
        if self.relative:
            count = finite.sum(1, keepdim=True).clamp(min=1)
            centred = torch.where(finite, above - above.sum(1, keepdim=True) / count, 0.0)
            temperature *= (centred.square().sum(1, keepdim=True) / count).sqrt().clamp(min=1e-12)
        weights = torch.where(finite, (-above / temperature).exp(), 0.0)
        return weights / weights.sum(1, keepdim=True).clamp(min=1e-12)

    def _average(
        self, candidates: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the next mean and standard deviation [B, H, A].

        They do not change if all weights are 0.
        """
        share = weights[..., None, None]
        some = (weights.sum(1) > 0)[:, None, None]
        new_mean = torch.where(some, (candidates * share).sum(1), mean)
        if not self.adapt_std:
            return new_mean, std
        new_std = (
            ((candidates - new_mean[:, None]).square() * share)
            .sum(1)
            .sqrt()
            .clamp(min=self.min_std)
        )
        return new_mean, torch.where(some, new_std, std)
