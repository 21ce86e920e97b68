"""The state of a search: the best plan so far, and which problems are still searching."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class BestSoFar:
    """Keeps the best candidate of each problem over the iterations of a search.

    It starts with a plan of infinite cost. A search in which every cost is NaN then still returns a
    plan within the bounds.
    """

    def __init__(self, start: Tensor) -> None:
        self.actions = start.clone()
        self.cost = start.new_full((len(start),), torch.inf)
        self._rows = torch.arange(len(start), device=start.device)

    def update(self, actions: Tensor, costs: Tensor, *, active: Tensor | None = None) -> None:
        """Update ``active`` (default: all) problems with candidates [B, S, H, A] and costs."""
        lowest, index = costs.min(1)
        better = lowest < self.cost
        if active is not None:
            better &= active.to(lowest.device)
        chosen = actions[self._rows, index]
        self.actions = torch.where(better[:, None, None], chosen, self.actions)
        self.cost = torch.where(better, lowest, self.cost)


def has_improved(before: Tensor, after: Tensor, *, tolerance: float) -> Tensor:
    """Return whether each cost [B] fell by more than the share ``tolerance``.

    The first finite cost after an infinite one counts as an improvement.
    """
    enough = before - tolerance * before.abs()
    return torch.where(before.isinf(), after.isfinite(), after < enough)


class Progress:
    """Tracks which problems of a batch are still searching.

    Each problem stops on its own. A stopped problem counts no evaluations and draws no noise.

    Attributes:
        active: Problems that are still searching [B], on the CPU.
        searching: The same, or None while all problems are.
        iterations: Number of iterations of each problem [B].

    Args:
        num_problems: Number of problems B.
        patience: Number of iterations without an improvement after which a problem stops; 0
            disables the stop.
        tolerance: Share of the cost by which an improvement must exceed it, in [0, 1].
    """

    def __init__(self, num_problems: int, *, patience: int, tolerance: float) -> None:
        self.active = torch.ones(num_problems, dtype=torch.bool)
        self.searching: Tensor | None = None
        self.iterations: NDArray[np.int64] = np.zeros(num_problems, dtype=np.int64)
        self._evaluations: NDArray[np.int64] = np.zeros(num_problems, dtype=np.int64)
        self._patience, self._tolerance = patience, tolerance
        self._reference = torch.full((num_problems,), torch.inf)
        self._waited = torch.zeros(num_problems, dtype=torch.int64)

    def update(self, best_cost: Tensor, *, evaluations: int) -> bool:
        """Update with the best costs [B] and return whether any problem continues."""
        counted = self.active.numpy()
        self.iterations += counted
        self._evaluations += evaluations * counted
        if not self._patience:
            return True
        cost = best_cost.detach().cpu()
        better = has_improved(self._reference, cost, tolerance=self._tolerance)
        self._reference = torch.where(better, cost, self._reference)
        self._waited = torch.where(better, 0, self._waited + 1)
        self.active &= self._waited < self._patience
        self.searching = None if self.active.all() else self.active
        return bool(self.active.any())

    def evaluations(self, extra: int | NDArray[np.int64] = 0) -> int | NDArray[np.int64]:
        """Return the number of scored candidates plus ``extra``, as in ``Plan.num_evaluations``."""
        counts = self._evaluations + extra
        return int(counts[0]) if (counts == counts[0]).all() else counts
