"""The contract of planners (``jepabench.agents.planners.base.Planner``)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from jepabench.agents.planners.base import ActionBounds, Plan, Planner
from jepabench.testing.contract import require

_NUM_PROBLEMS = 3
_TOLERANCE = 1e-4


def check_planner(planner: Planner, *, action_size: int = 2) -> None:
    """Check that a planner keeps its contract.

    It is run on costs with known minima: a quadratic, one with NaN, and one that is never finite.

    Args:
        planner: The planner, with any horizon.
        action_size: Action size A of the test problems.

    Raises:
        ContractError: A plan has the wrong shape or leaves the bounds, its cost or its number of
            evaluations is wrong, it depends on the rest of the batch, NaN wins, or the search does
            not improve on the resting action.
    """
    bounds = ActionBounds(torch.full((action_size,), -1.0), torch.full((action_size,), 0.75))
    _check_search(planner, bounds)
    _check_batches(planner, bounds)
    _check_bad_costs(planner, bounds)
    _check_warm_start(planner, bounds)
    _check_horizon(planner)


def _check_search(planner: Planner, bounds: ActionBounds) -> None:
    counted = _Counted(0.5)
    plan = planner.plan(counted, bounds=bounds, initial=None, generators=_streams(_NUM_PROBLEMS))
    shape = (_NUM_PROBLEMS, planner.horizon, len(bounds.low))
    require(
        tuple(plan.actions.shape) == shape,
        f"Plan.actions must have the shape [B, H, A] = {shape}, got {tuple(plan.actions.shape)}.",
    )
    require(
        tuple(plan.cost.shape) == shape[:1],
        f"Plan.cost must have the shape [B] = {shape[:1]}, got {tuple(plan.cost.shape)}.",
    )
    for actions in (*counted.seen, plan.actions):
        inside = (actions >= bounds.low).all() and (actions <= bounds.high).all()
        require(bool(inside), "Every candidate and the plan must stay within the bounds.")
    _check_cost(plan, _Counted(0.5))
    _check_count(plan, counted.scored)
    resting = _Counted(0.5)(torch.zeros(1, 1, *shape[1:])).item()
    require(
        bool((plan.cost < resting).all()),
        f"The search must improve on the resting action, whose cost is {resting:.4g}; "
        f"got {plan.cost.tolist()}.",
    )


def _check_cost(plan: Plan, cost: _Counted) -> None:
    expected = cost(plan.actions[:, None])[:, 0]
    require(
        torch.allclose(plan.cost, expected, atol=_TOLERANCE),
        f"Plan.cost must be the cost of Plan.actions, {expected.tolist()}; "
        f"got {plan.cost.tolist()}.",
    )


def _check_count(plan: Plan, scored: int) -> None:
    counts = np.broadcast_to(plan.num_evaluations, _NUM_PROBLEMS)
    require(
        int(counts.max()) == scored,
        f"Plan.num_evaluations must count the candidates that were scored, {scored}; "
        f"got {plan.num_evaluations}.",
    )


def _check_batches(planner: Planner, bounds: ActionBounds) -> None:
    generators = _streams(_NUM_PROBLEMS)
    together = planner.plan(_Counted(0.5), bounds=bounds, initial=None, generators=generators)
    for problem in range(_NUM_PROBLEMS):
        stream = torch.Generator().manual_seed(problem)
        alone = planner.plan(_Counted(0.5), bounds=bounds, initial=None, generators=[stream])
        require(
            torch.equal(alone.actions[0], together.actions[problem]),
            "A problem must have the same plan alone and in a batch: draw from its own generator.",
        )
        require(
            torch.equal(stream.get_state(), generators[problem].get_state()),
            "A search must draw as many numbers for a problem alone as in a batch.",
        )


def _check_bad_costs(planner: Planner, bounds: ActionBounds) -> None:
    def half_nan(actions: Tensor) -> Tensor:
        costs = (actions - 0.5).square().mean((2, 3))
        return torch.where(actions[:, :, 0, 0] > 0.05, torch.nan, costs)

    plan = planner.plan(half_nan, bounds=bounds, initial=None, generators=_streams(1))
    require(
        bool(plan.cost.isfinite().all()) and bool((plan.actions[:, 0, 0] <= 0.05).all()),
        "A candidate whose cost is NaN must never win: NaN counts as infinite.",
    )
    for value in (torch.nan, torch.inf):
        plan = planner.plan(
            lambda actions, value=value: actions.sum((2, 3)) * 0 + value,
            bounds=bounds,
            initial=None,
            generators=_streams(1),
        )
        require(
            bool(plan.actions.isfinite().all()) and plan.cost.item() == torch.inf,
            f"If every cost is {value}, the plan must be finite and its cost infinite; "
            f"got {plan.cost.item()}.",
        )


def _check_warm_start(planner: Planner, bounds: ActionBounds) -> None:
    best = torch.full((1, planner.horizon, len(bounds.low)), 0.5)
    plan = planner.plan(_Counted(0.5), bounds=bounds, initial=best, generators=_streams(1))
    require(
        plan.cost.item() < 0.02,
        f"A search that starts from the best plan must not end far from it; "
        f"got the cost {plan.cost.item():.4g} instead of 0.",
    )


def _check_horizon(planner: Planner) -> None:
    try:
        other = planner.with_horizon(planner.horizon + 1)
    except TypeError:  # allowed: the planner has one horizon only
        return
    require(
        other.horizon == planner.horizon + 1,
        f"with_horizon({planner.horizon + 1}) must return a planner with this horizon, "
        f"got {other.horizon}.",
    )


class _Counted:
    """A quadratic with its minimum at ``target`` that counts and keeps what it scored."""

    def __init__(self, target: float) -> None:
        self.target, self.scored = target, 0
        self.seen: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        self.scored += actions.shape[1]
        self.seen.append(actions.detach())
        return (actions - self.target).square().mean((2, 3))


def _streams(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]
