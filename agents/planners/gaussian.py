"""The Gaussian over plans from which CEM, iCEM and MPPI sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from jepabench.agents.planners.base import (
    ActionBounds,
    BestSoFar,
    CostFunction,
    Progress,
    draw_normal,
    score_candidates,
    starting_plans,
)


class GaussianSettings(Protocol):
    """The settings of a planner that a Gaussian search needs."""

    @property
    def horizon(self) -> int:
        """Model steps of a plan."""
        ...

    @property
    def initial_std(self) -> float:
        """Standard deviation of the first iteration."""
        ...

    @property
    def colour(self) -> float:
        """Exponent of the noise spectrum; see ``coloured_root``."""
        ...

    @property
    def patience(self) -> int:
        """Iterations without progress after which a problem stops; 0 for never."""
        ...

    @property
    def tolerance(self) -> float:
        """Relative decrease of the cost that counts as progress."""
        ...


class GaussianSearch:
    """State of an iterative search with a diagonal Gaussian over plans, for B problems.

    A problem that has stopped keeps its mean and standard deviation and draws no more noise.

    Args:
        settings: the planner.
        initial: warm starts, as in ``Planner.plan``.
        bounds: limits that every candidate keeps.
        generators: one random stream per problem.

    Attributes:
        mean, std: of the Gaussian [B, H, A].
        starts: the plans that the search starts from [B, P, H, A].
        best: the best plan of each problem so far.
        progress: which problems are still searching.
    """

    def __init__(
        self,
        settings: GaussianSettings,
        initial: Tensor | None,
        *,
        bounds: ActionBounds,
        generators: Sequence[torch.Generator],
    ) -> None:
        self.starts = starting_plans(
            initial, bounds=bounds, horizon=settings.horizon, generators=generators
        )
        self.mean = self.starts[:, 0]
        self.std = torch.full_like(self.mean, settings.initial_std)
        self.best = BestSoFar(self.mean)
        self.progress = Progress(
            len(self.mean), patience=settings.patience, tolerance=settings.tolerance
        )
        self._bounds, self._generators, self._colour = bounds, generators, settings.colour

    def sample(self, num_samples: int) -> Tensor:
        """Draw candidates [B, S, H, A] within the bounds. The first candidate is the mean."""
        noise = draw_normal(
            (num_samples, *self.mean.shape[1:]),
            self._generators,
            like=self.mean,
            colour=self._colour,
            active=self.progress.active,
        )
        noise[:, 0] = 0
        candidates = noise.mul_(self.std[:, None]).add_(self.mean[:, None])
        return candidates.clamp_(self._bounds.low, self._bounds.high)

    def insert_starts(self, candidates: Tensor) -> None:
        """Replace the first candidates by the plans that the search starts from."""
        given = self.starts[:, : candidates.shape[1]]
        candidates[:, : given.shape[1]] = given

    def score(self, cost: CostFunction, candidates: Tensor) -> Tensor:
        """Return the costs [B, S] of candidates and remember the best candidate."""
        costs = score_candidates(cost, candidates)
        self.best.update(candidates, costs, active=self.progress.active)
        return costs

    def refit(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and standard deviation [B, H, A] of the problems that are still searching."""
        self.mean = self.select_active(mean, self.mean)
        self.std = self.select_active(std, self.std)

    def select_active(self, new: Tensor, old: Tensor) -> Tensor:
        """Return ``new`` [B, ...] for problems that are still searching and ``old`` for others."""
        active = self.progress.active.view(-1, *[1] * (new.ndim - 1))
        return torch.where(active, new, old)

    def clamped_mean(self) -> Tensor:
        """Return the mean [B, H, A]; the mean of plans on a bound may round to just outside."""
        return self.mean.clamp(self._bounds.low, self._bounds.high)
