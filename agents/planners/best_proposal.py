"""No search: execute the best of the proposed plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepabench.agents.planners.base import (
    ActionBounds,
    BasePlanner,
    BestSoFar,
    CostFunction,
    Plan,
    require_at_least,
    score_candidates,
    starting_plans,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestProposalPlanner(BasePlanner):
    """Score the plans that a search would start from and return the best of them.

    These plans are the rest of the last plan and the proposals of a policy (``MPCAgent.proposal``).
    The planner draws no noise. The difference to a search that starts from the same plans is the
    contribution of the search.

    Attributes:
        horizon: model steps of a plan.
    """

    horizon: int = 5

    def __post_init__(self) -> None:
        require_at_least(1, horizon=self.horizon)

    @torch.inference_mode()
    def plan(
        self,
        cost: CostFunction,
        *,
        bounds: ActionBounds,
        initial: Tensor | None = None,
        generators: Sequence[torch.Generator],
    ) -> Plan:
        """Return the best of the plans in ``initial``; see ``Planner.plan``."""
        starts = starting_plans(initial, bounds=bounds, horizon=self.horizon, generators=generators)
        best = BestSoFar(starts[:, 0])
        best.update(starts, score_candidates(cost, starts))
        return Plan(best.actions, best.cost, starts.shape[1], 1)
