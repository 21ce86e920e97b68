"""Moving averages of networks, which give stable targets to a loss."""

from __future__ import annotations

import math

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, source: nn.Module, momentum: float, progress: float) -> None:
    """Move the parameters of ``average`` towards those of ``source``, after a gradient step.

    Args:
        average: Moving average.
        source: Network that is trained.
        momentum: Momentum at the start of the training. It rises to 1 with BYOL's cosine schedule.
        progress: Finished share of the training, 0 to 1. At 1, the average no longer changes.
    """
    share = (1 - momentum) * 0.5 * (1 + math.cos(math.pi * progress))
    for slow, fast in zip(average.parameters(), source.parameters(), strict=True):
        slow.lerp_(fast, share)
