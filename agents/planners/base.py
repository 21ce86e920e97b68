"""The planner contract and the operations that all searches share.

A planner takes a cost function and returns a plan. It has no access to a model or a world. Actions
are in the units of the cost function. For a learned model, these are normalised model-step actions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class CostError(RuntimeError):
    """Raised when a cost function fails; the original exception is the cause."""


class CostFunction(Protocol):
    """Scores candidate plans."""

    def __call__(self, actions: Tensor) -> Tensor:
        """Return costs [B, S] of actions [B, S, H, A]; lower is better, NaN counts as +inf.

        Differentiable if the model is.
        """
        ...


@dataclass(frozen=True, slots=True)
class ActionBounds:
    """Lowest and highest action of a model step [A], in the units that the cost function takes."""

    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        if not bool((self.low < self.high).all()):
            raise ValueError(
                f"Action bounds cross: low {self.low.tolist()}, high {self.high.tolist()}."
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of a search.

    Attributes:
        actions: The best plan of each problem [B, H, A], within the bounds.
        cost: Its cost [B].
        num_evaluations: Candidate plans scored per problem, as an array [B] if the numbers differ.
            Multiplied by H, this is the number of model steps.
        num_iterations: Maximum number of iterations of any problem.
        others: Runners-up [B, P, H, A], best first, from which another search can start, or None.
    """

    actions: Tensor
    cost: Tensor
    num_evaluations: int | NDArray[np.int64]
    num_iterations: int
    others: Tensor | None = None


class Planner(Protocol):
    """A search over action sequences. ``BasePlanner`` implements the optional members."""

    @property
    def horizon(self) -> int:
        """Model steps H of a plan."""
        ...

    @property
    def num_kept(self) -> int:
        """Runners-up of a plan (``Plan.others``) that the next search should start from."""
        ...

    def plan(
        self,
        cost: CostFunction,
        *,
        bounds: ActionBounds,
        initial: Tensor | None,
        generators: Sequence[torch.Generator],
    ) -> Plan:
        """Find low-cost plans for B = len(generators) problems.

        Args:
            cost: What to minimise.
            bounds: Limits that every candidate keeps.
            initial: Warm start [B, H, A], or several [B, P, H, A], of which the first is the main
                one. None is a cold start from the action 0, clipped to the bounds.
            generators: One random stream per problem. The same stream gives the same plan, whether
                the problem is solved alone or in a batch.
        """
        ...

    def with_horizon(self, horizon: int) -> Planner:
        """Return the same search over plans of ``horizon`` model steps.

        Raises:
            TypeError: The horizon of the planner cannot change.
        """
        ...


@dataclass(frozen=True, slots=True)
class SearchProblem:
    """B problems, as ``BasePlanner.plan`` passes them to ``BasePlanner.search``.

    Attributes:
        cost: What to minimise.
        starts: Plans [B, P, H, A] within the bounds from which the search starts, main one first.
        bounds: Limits that every candidate keeps.
        generators: One random stream per problem.
    """

    cost: CostFunction
    starts: Tensor
    bounds: ActionBounds
    generators: Sequence[torch.Generator]

    @property
    def start(self) -> Tensor:
        """The main plan [B, H, A]."""
        return self.starts[:, 0]

    def score(self, candidates: Tensor) -> Tensor:
        """Return the costs [B, S] of candidates [B, S, H, A]; see ``score_candidates``."""
        return score_candidates(self.cost, candidates)

    def clamp(self, actions: Tensor) -> Tensor:
        """Return actions [..., A] within the bounds."""
        return actions.clamp(self.bounds.low, self.bounds.high)


class BasePlanner:
    """Implements the members of ``Planner``, except for the search and its horizon.

    A new planner is a dataclass that derives from this class and defines ``horizon`` and either
    ``search`` or, if it does not need checked starting plans, ``plan``.
    """

    __slots__ = ()

    def plan(
        self,
        cost: CostFunction,
        *,
        bounds: ActionBounds,
        initial: Tensor | None = None,
        generators: Sequence[torch.Generator],
    ) -> Plan:
        """Find low-cost plans for B problems; see ``Planner.plan``."""
        horizon: int = self.horizon  # pyright: ignore  (a field or property of each planner)
        starts = starting_plans(initial, bounds=bounds, horizon=horizon, generators=generators)
        return self.search(SearchProblem(cost, starts, bounds, generators))

    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems whose starting plans are checked."""
        raise NotImplementedError(f"{type(self).__name__} defines neither search nor plan.")

    @property
    def num_kept(self) -> int:
        """Zero: the next search starts from the last plan alone."""
        return 0

    def with_horizon(self, horizon: int) -> Any:
        """Return a copy with another value in the field ``horizon``.

        Raises:
            TypeError: The planner is not a dataclass with this field.
        """
        fields = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        if not any(field.name == "horizon" for field in fields):
            raise TypeError(
                f"{type(self).__name__} cannot plan over another horizon, which a shrinking "
                "horizon needs: it has no dataclass field `horizon`. Override with_horizon()."
            )
        return dataclasses.replace(self, horizon=horizon)  # pyright: ignore


class WrappingPlanner(BasePlanner):
    """A planner that calls another one, ``planner``, and has its horizon."""

    __slots__ = ()

    planner: Planner

    @property
    def horizon(self) -> int:
        """Model steps H of a plan."""
        return self.planner.horizon

    @property
    def num_kept(self) -> int:
        """Runners-up of the inner planner, from which the next search starts."""
        return self.planner.num_kept

    def with_horizon(self, horizon: int) -> Any:
        """Return the same planner around a search over plans of ``horizon`` model steps."""
        return dataclasses.replace(self, planner=self.planner.with_horizon(horizon))  # pyright: ignore


def starting_plans(
    initial: Tensor | None,
    *,
    bounds: ActionBounds,
    horizon: int,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Return the plans [B, P, H, A] from which a search starts, within the bounds, main one first.

    Raises:
        ValueError: There is no problem, or the warm start has the wrong shape.
    """
    if not generators:
        raise ValueError("Planning needs one generator for each problem, got none.")
    shape = (len(generators), horizon, len(bounds.low))
    if initial is None:
        initial = bounds.low.new_zeros(shape)
    if initial.ndim == 3:
        initial = initial[:, None]
    if (
        initial.ndim != 4
        or (initial.shape[0], *initial.shape[2:]) != shape
        or initial.shape[1] == 0
    ):
        got = tuple(initial.squeeze(1).shape)
        raise ValueError(f"A warm start must have shape [B, H, A] = {shape}, got {got}.")
    return torch.clamp(initial, bounds.low, bounds.high)


def score_candidates(cost: CostFunction, actions: Tensor) -> Tensor:
    """Return costs [B, S] of candidates [B, S, H, A] with NaN as +inf.

    Raises:
        CostError: The cost function raised an exception.
        ValueError: The cost function returned another shape.
    """
    try:
        costs = cost(actions)
    except Exception as error:
        raise CostError(
            f"The cost function failed on candidates [B, S, H, A] = {tuple(actions.shape)}: "
            f"{type(error).__name__}: {error}. Do its terms fit the latents of this model?"
        ) from error
    if costs.shape != actions.shape[:2]:
        raise ValueError(
            f"A cost function must return [B, S] = {tuple(actions.shape[:2])}, "
            f"got {tuple(costs.shape)}."
        )
    return costs.nan_to_num(torch.inf, torch.inf, -torch.inf)
