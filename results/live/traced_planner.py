"""A planner that records the candidates of its search, to show how it thinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.agents.costs.latent_cost import LatentCost
from jepabench.agents.planners.base import CostFunction, Plan, Planner, WrappingPlanner


@dataclass(frozen=True, slots=True)
class Round:
    """One call of the cost function for one problem.

    Attributes:
        latents: Imagined latents of the shown candidates [K, H, *latent], cheapest first.
        costs: Their costs [K].
        best: Lowest cost of all candidates.
        num_candidates: Number of all candidates S.
    """

    latents: Tensor
    costs: NDArray[np.float64]
    best: float
    num_candidates: int


@dataclass(frozen=True, slots=True)
class Thought:
    """A search of one problem.

    Attributes:
        rounds: One per call of the cost function.
        plan: The result.
        future: Imagined latents of the chosen plan [H, *latent].
    """

    rounds: Sequence[Round]
    plan: Plan
    future: Tensor


@dataclass(slots=True)
class TracedPlanner(WrappingPlanner):
    """Runs another planner with the same noise and the same result, and records its search.

    Only the first problem of a batch is recorded.

    Attributes:
        planner: The search.
        num_shown: Largest number of candidates to record per round; the cheapest is among them.
        thought: The last search, or None.
    """

    planner: Planner
    num_shown: int = 40
    thought: Thought | None = field(default=None, init=False)

    def plan(self, cost: CostFunction, **problem: Any) -> Plan:
        """Find low-cost plans; see ``Planner.plan``.

        Raises:
            TypeError: The cost is not one of imagined latents.
        """
        if not isinstance(cost, LatentCost):
            raise TypeError(f"A traced planner needs a LatentCost, got {type(cost).__name__}.")
        traced = _TracedCost(cost, self.num_shown)
        plan = self.planner.plan(traced, **problem)
        with torch.no_grad():
            future = cost.imagine(plan.actions[:, None])[0, 0]
        self.thought = Thought(traced.rounds, plan, future)
        return plan


class _TracedCost:
    """A latent cost that records its candidates."""

    def __init__(self, cost: LatentCost, num_shown: int) -> None:
        self.cost, self.num_shown, self.rounds = cost, num_shown, list[Round]()

    def __call__(self, actions: Tensor) -> Tensor:
        latents = self.cost.imagine(actions)
        costs = self.cost.energy(latents, self.cost.goal, actions)
        seen = costs[0].detach()
        order = torch.argsort(seen)  # evenly spaced ranks show the spread of the candidates
        places = torch.linspace(0, len(order) - 1, min(self.num_shown, len(order))).long()
        shown = order[places]
        self.rounds.append(
            Round(
                latents[0].detach()[shown],
                seen[shown].double().numpy(),
                float(seen.min()),
                len(seen),
            )
        )
        return costs
