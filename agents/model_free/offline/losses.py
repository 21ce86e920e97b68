"""Losses and weight updates that several offline methods use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def expectile_loss(error: Tensor, advantage: Tensor, expectile: float) -> Tensor:
    """Return the weighted mean squared error (Kostrikov et al., 2022, eq. 5).

    The weight is ``expectile`` for a positive ``advantage`` and 1 - ``expectile`` otherwise.
    """
    weight = torch.where(advantage > 0, expectile, 1 - expectile)
    return (weight * error.square()).mean()


def ddpg_bc_loss(value: Tensor, action: Tensor, data_action: Tensor, bc_weight: float) -> Tensor:
    """Return the DDPG + BC loss of a policy, as in OGBench (Park et al., 2025).

    Args:
        value: Q values [N] of the policy's actions. They are scaled to a mean absolute value of 1.
        action: Actions of the policy [N, A].
        data_action: Actions of the data [N, A].
        bc_weight: Weight of the squared distance between the two.
    """
    scale = value.detach().abs().mean().clamp(min=1e-6)
    return -value.mean() / scale + bc_weight * (action - data_action).square().mean()


@torch.no_grad()
def polyak_update(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Update weights in place: target += tau * (source - target)."""
    for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
        slow.lerp_(fast, tau)


@contextmanager
def freeze_weights(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without reaching its weights, within the context."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
