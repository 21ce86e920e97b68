"""The best candidates of an iteration and the Gaussian that fits them, for CEM and iCEM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Elites:
    """The K best of S candidates, best first.

    Attributes:
        plans: [B, K, H, A].
        finite: 1 for plans with a finite cost, else 0 [B, K]. Only finite plans are elites.
    """

    plans: Tensor
    finite: Tensor

    def fit_gaussian(
        self, mean: Tensor, std: Tensor, *, momentum: float, min_std: float
    ) -> tuple[Tensor, Tensor]:
        """Return the next mean and standard deviation [B, H, A].

        A problem without elites keeps its mean and standard deviation.
        """
        counts = self.finite[..., None, None]
        total = counts.sum(1)
        new_mean = (self.plans * counts).sum(1) / total.clamp(min=1)
        new_std = (
            ((self.plans - new_mean[:, None]).square() * counts)
            .sum(1)
            .div(total.clamp(min=1))
            .sqrt()
        )
        keep = torch.where(total > 0, momentum, 1.0)
        return mean.lerp(new_mean, 1 - keep), std.lerp(new_std, 1 - keep).clamp(min=min_std)


def select_elites(candidates: Tensor, costs: Tensor, num_elites: int) -> Elites:
    """Return the ``num_elites`` best of candidates [B, S, H, A] by their costs [B, S].

    The earlier candidate wins a tie.
    """
    order = costs.argsort(dim=1, stable=True)[:, :num_elites]
    plans = candidates[torch.arange(len(candidates))[:, None], order]
    return Elites(plans, costs.gather(1, order).isfinite().to(candidates))
