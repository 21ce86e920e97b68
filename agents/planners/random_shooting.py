"""Random shooting: draw many plans once and keep the best.

This is the baseline for searches with the same number of evaluations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from jepabench.agents.planners.base import BasePlanner, Plan, SearchProblem
from jepabench.agents.planners.noise import draw_normal
from jepabench.agents.planners.progress import BestSoFar
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomShootingPlanner(BasePlanner):
    """One round of Gaussian candidates around the warm start, which is itself a candidate.

    Attributes:
        horizon: Model steps of a plan.
        num_samples: Candidates.
        initial_std: Their standard deviation, in units of the cost function's actions.
        colour: Spectral exponent of the noise; see ``coloured_root``.
    """

    horizon: int = 5
    num_samples: int = 768
    initial_std: float = 1.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, horizon=self.horizon, num_samples=self.num_samples)
        require_at_least(0, initial_std=self.initial_std, colour=self.colour)

    @torch.inference_mode()
    def search(self, problem: SearchProblem) -> Plan:
        """Find low-cost plans for B problems; see ``BasePlanner.search``."""
        start, bounds = problem.start, problem.bounds
        noise = draw_normal(
            (self.num_samples, *start.shape[1:]),
            problem.generators,
            like=start,
            colour=self.colour,
        )
        candidates = (
            noise.mul_(self.initial_std).add_(start[:, None]).clamp_(bounds.low, bounds.high)
        )
        given = problem.starts[:, : self.num_samples]
        candidates[:, : given.shape[1]] = given
        best = BestSoFar(start)
        best.update(candidates, problem.score(candidates))
        return Plan(best.actions, best.cost, self.num_samples, 1)
