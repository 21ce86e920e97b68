"""No search: execute the best of the proposed plans."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from jepabench.agents.planners.base import BasePlanner, Plan, SearchProblem
from jepabench.agents.planners.progress import BestSoFar
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class BestProposalPlanner(BasePlanner):
    """Score the plans that a search would start from and return the best of them.

    These plans are the rest of the last plan and the proposals of a policy (``MPCAgent.proposal``).
    The planner draws no noise. The difference to a search that starts from the same plans is the
    contribution of the search.

    Attributes:
        horizon: Model steps of a plan.
    """

    horizon: int = 5

    def __post_init__(self) -> None:
        require_at_least(1, horizon=self.horizon)

    @torch.inference_mode()
    def search(self, problem: SearchProblem) -> Plan:
        """Return the best of the starting plans; see ``BasePlanner.search``."""
        best = BestSoFar(problem.start)
        best.update(problem.starts, problem.score(problem.starts))
        return Plan(best.actions, best.cost, problem.starts.shape[1], 1)
