"""A term of an energy: what a plan costs besides the distance to the goal."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Mean square of the actions of a plan.

    Attributes:
        weight: Weight in the sum of all terms.
        name: Name in reports, unique within an energy.
    """

    weight: float = 1.0
    name: str = "effort"

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S] of actions [B, S, H, A]."""
        del latents, goal
        return actions.square().mean((2, 3))
