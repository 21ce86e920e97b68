"""Training terms as pure functions on latents [B, T, D]. Lower is better for all of them.

Published factors matter more than published weights: each docstring says what is averaged and what is not, because a
weight means nothing without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def prediction_error(predicted: Tensor, target: Tensor, *, stop_gradient: bool = False) -> Tensor:
    """Mean squared error over everything, [...] and [...] to a scalar. Gradients flow into both sides unless stopped."""
    return functional.mse_loss(predicted, target.detach() if stop_gradient else target)


def variance(latents: Tensor, *, margin: float = 1.0, epsilon: float = 1e-4) -> Tensor:
    """VICReg's variance hinge (Bardes et al. 2022, eq. 1): mean over D of max(0, margin - std), std over all B*T samples."""
    flat = latents.flatten(0, -2)
    return functional.relu(margin - (flat.var(0) + epsilon).sqrt()).mean()


def covariance(latents: Tensor) -> Tensor:
    """VICReg's covariance term (eq. 3-4): sum of squared off-diagonal covariances over B*T samples, divided by D.

    PLDM and others divide by D (D - 1): multiply their weight by 1 / (D - 1) for this form.
    """
    flat = latents.flatten(0, -2)
    centred = flat - flat.mean(0)
    matrix = centred.T @ centred / (len(flat) - 1)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / matrix.shape[0]


def temporal_variance(latents: Tensor, *, margin: float = 1.0, epsilon: float = 1e-4) -> Tensor:
    """PLDM's variance over time: the hinge of ``variance`` with the std over T, averaged over B and D."""
    return functional.relu(margin - (latents.var(1) + epsilon).sqrt()).mean()


def time_similarity(latents: Tensor) -> Tensor:
    """PLDM's slowness: mean of (z_{t+1} - z_t)^2, gradients to both sides."""
    return (latents[:, 1:] - latents[:, :-1]).square().mean()


def curvature(latents: Tensor) -> Tensor:
    """Temporal straightening: mean of 1 - cos(v_t, v_{t+1}) with v_t = z_{t+1} - z_t. In [0, 2]; needs T >= 3."""
    velocity = latents[:, 1:] - latents[:, :-1]
    return 1.0 - functional.cosine_similarity(velocity[:, 1:], velocity[:, :-1], dim=-1).mean()


def sigreg(
    latents: Tensor, generator: torch.Generator, *, num_directions: int = 256, num_knots: int = 17, limit: float = 3.0
) -> Tensor:
    """SIGReg (LeJEPA, Balestriero & LeCun 2025): Epps-Pulley distance of random projections from a standard normal.

    Each time step is a test of its own over the B samples; the statistic keeps its factor B, so the weight depends on the
    batch size: 0.05 to 0.1 for B = 128. Knots are 0..limit, doubled by symmetry; trapezoid rule with the normal's own
    characteristic function as weight.

    Args:
        latents: [B, T, D].
        generator: draws the directions, new ones a step.
        num_directions: random unit vectors.
        num_knots, limit: knots of the quadrature, evenly spaced on [0, limit].
    """
    samples, _, size = latents.shape
    directions = functional.normalize(torch.randn(size, num_directions, generator=generator), dim=0).to(latents.device)
    projected = latents.transpose(0, 1) @ directions  # [T, B, M]
    step = limit / (num_knots - 1)
    error = projected.new_zeros(projected.shape[0], num_directions)
    for knot in range(1, num_knots):  # at knot 0 the error is 0
        t = knot * step
        target = math.exp(-0.5 * t * t)
        angle = projected * t
        mismatch = (angle.cos().mean(1) - target).square() + angle.sin().mean(1).square()
        error = error + (step if knot == num_knots - 1 else 2 * step) * target * mismatch
    return samples * error.mean()


def inverse_dynamics(decoded: Tensor, actions: Tensor) -> Tensor:
    """Mean squared error of actions decoded from neighbouring latents, both [B, T-1, A]. In units of the data's variance."""
    return functional.mse_loss(decoded, actions)


LATENT_TERMS: dict[str, Callable[..., Tensor]] = {
    "variance": variance, "covariance": covariance, "temporal_variance": temporal_variance,
    "time_similarity": time_similarity, "curvature": curvature, "sigreg": sigreg,
}  # fmt: skip
