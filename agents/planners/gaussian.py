"""The Gaussian over plans from which CEM, iCEM and MPPI sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jepabench.agents.planners.base import BasePlanner, Plan, SearchProblem
from jepabench.agents.planners.noise import draw_normal
from jepabench.agents.planners.progress import BestSoFar, Progress
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlanner(BasePlanner):
    """The settings of a planner that samples candidates in several iterations.

    Attributes:
        horizon: Model steps of a plan.
        num_samples: Number of candidates per iteration.
        num_iterations: Rounds of sampling and refitting.
        initial_std: Standard deviation at the start, in units of the cost function's actions.
        patience, tolerance: A problem stops when its best cost has not fallen by more than the
            share ``tolerance`` within ``patience`` iterations. Patience 0 disables the stop.
    """

    horizon: int = 5
    num_samples: int = 128
    num_iterations: int = 6
    initial_std: float = 1.0
    patience: int = 0
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("num_samples", "num_iterations")}
        require_at_least(1, horizon=self.horizon, **sizes)
        require_at_least(0, patience=self.patience, tolerance=self.tolerance)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianPlanner(SamplingPlanner):
    """The settings of a planner with a diagonal Gaussian over plans.

    Attributes:
        min_std: Smallest standard deviation, in units of the cost function's actions.
        colour: Spectral exponent of the noise; see ``coloured_root``.
    """

    min_std: float = 0.05
    colour: float = 0.0

    def __post_init__(self) -> None:
        SamplingPlanner.__post_init__(self)
        require_at_least(0, initial_std=self.initial_std, min_std=self.min_std, colour=self.colour)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElitePlanner(GaussianPlanner):
    """The settings of a planner that refits a Gaussian to the best candidates.

    Attributes:
        num_elites: Number of best candidates to which the Gaussian is refitted.
        momentum: Share of the old mean and standard deviation that a refit keeps, in [0, 1).
    """

    num_elites: int = 16
    momentum: float = 0.0

    def __post_init__(self) -> None:
        GaussianPlanner.__post_init__(self)
        require_at_least(1, num_elites=self.num_elites)
        require_at_least(0, momentum=self.momentum)
        if self.num_elites > self.num_samples:
            raise ValueError(
                f"num_elites must be at most num_samples = {self.num_samples}, "
                f"got {self.num_elites}."
            )
        if self.momentum >= 1:
            raise ValueError(
                f"momentum must be below 1, got {self.momentum}. With 1, the distribution would "
                "never change."
            )


class GaussianSearch:
    """State of an iterative search with a diagonal Gaussian over plans, for B problems.

    A problem that has stopped keeps its mean and standard deviation and draws no more noise.

    Args:
        settings: The planner.
        problem: The problems.

    Attributes:
        mean, std: Mean and standard deviation of the Gaussian [B, H, A].
        best: The best plan of each problem so far.
        progress: Which problems are still searching.
    """

    def __init__(self, settings: GaussianPlanner, problem: SearchProblem) -> None:
        self.mean = problem.start
        self.std = torch.full_like(self.mean, settings.initial_std)
        self.best = BestSoFar(self.mean)
        self.progress = Progress(
            len(self.mean), patience=settings.patience, tolerance=settings.tolerance
        )
        self._problem, self._colour = problem, settings.colour

    def sample(self, num_samples: int) -> Tensor:
        """Draw candidates [B, S, H, A] within the bounds. The first candidate is the mean."""
        noise = draw_normal(
            (num_samples, *self.mean.shape[1:]),
            self._problem.generators,
            like=self.mean,
            colour=self._colour,
            active=self.progress.searching,
        )
        noise[:, 0] = 0
        candidates = noise.mul_(self.std[:, None]).add_(self.mean[:, None])
        return candidates.clamp_(self._problem.bounds.low, self._problem.bounds.high)

    def insert_starts(self, candidates: Tensor) -> None:
        """Replace the first candidates by the plans that the search starts from."""
        given = self._problem.starts[:, : candidates.shape[1]]
        candidates[:, : given.shape[1]] = given

    def score(self, candidates: Tensor) -> Tensor:
        """Return the costs [B, S] of candidates and remember the best candidate."""
        costs = self._problem.score(candidates)
        self.best.update(candidates, costs, active=self.progress.searching)
        return costs

    def refit(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and standard deviation [B, H, A] of the problems that are still searching."""
        self.mean = self.select_active(mean, self.mean)
        self.std = self.select_active(std, self.std)

    def select_active(self, new: Tensor, old: Tensor) -> Tensor:
        """Return ``new`` [B, ...] for problems that are still searching and ``old`` for others."""
        searching = self.progress.searching
        if searching is None:
            return new
        return torch.where(searching.to(new.device).view(-1, *[1] * (new.ndim - 1)), new, old)

    def score_mean(self) -> tuple[Tensor, Tensor]:
        """Score the mean and return it [B, H, A] with its cost [B]."""
        mean = self._problem.clamp(self.mean)  # the mean of plans on a bound may round to outside
        costs = self._problem.score(mean[:, None])
        self.best.update(mean[:, None], costs)
        return mean, costs[:, 0]

    def best_plan(self, *, extra: int = 0, others: Tensor | None = None) -> Plan:
        """Return the best plan of each problem.

        Args:
            extra: Evaluations per problem besides those of the iterations.
            others: Runners-up [B, P, H, A].
        """
        return Plan(
            self.best.actions,
            self.best.cost,
            self.progress.evaluations(extra),
            int(self.progress.iterations.max()),
            others,
        )
