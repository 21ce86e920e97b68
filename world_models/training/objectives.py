"""Loss terms as pure functions of latents [B, T, D]. Lower is better.

Each docstring states what is summed and what is averaged, because a published weight only makes
sense with the published factors. ``LATENT_TERMS`` take latents of the encoder, ``PAIR_TERMS`` take
predictions and their target latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def prediction_error(predicted: Tensor, target: Tensor, *, stop_gradient: bool = False) -> Tensor:
    """Return the mean squared error, with gradients to both arguments unless stopped."""
    return functional.mse_loss(predicted, target.detach() if stop_gradient else target)


def _samples(latents: Tensor, first_only: bool) -> Tensor:
    """Return the samples [N, D] of a batch statistic: all latents, or the first frames."""
    return latents[:, 0] if first_only else latents.flatten(0, -2)


def variance(
    latents: Tensor, *, margin: float = 1.0, epsilon: float = 1e-4, first_only: bool = False
) -> Tensor:
    """VICReg's variance hinge (Bardes et al., 2022, eq. 1): mean over D of max(0, margin - std).

    The standard deviation is over all B*T samples, or only over the first frames (``first_only``,
    as in PLDM).
    """
    flat = _samples(latents, first_only)
    return functional.relu(margin - (flat.var(0) + epsilon).sqrt()).mean()


def covariance(latents: Tensor, *, first_only: bool = False, per_pair: bool = False) -> Tensor:
    """VICReg's covariance term (eq. 3-4): sum of squared off-diagonal covariances, divided by D.

    Args:
        latents: Latents [B, T, D].
        first_only: Whether to use only the first frames, as in PLDM, instead of all B*T samples.
        per_pair: Whether to divide by D (D - 1) instead, as PLDM and its successors do. Use it with
            their weights.
    """
    flat = _samples(latents, first_only)
    centred = flat - flat.mean(0)
    matrix = centred.T @ centred / (len(flat) - 1)
    size = matrix.shape[0]
    return _off_diagonal(matrix) / (size * (size - 1) if per_pair else size)


def _off_diagonal(matrix: Tensor) -> Tensor:
    """Return the sum of the squared off-diagonal entries."""
    return matrix.square().sum() - matrix.diagonal().square().sum()


def temporal_variance(latents: Tensor, *, margin: float = 1.0, epsilon: float = 1e-4) -> Tensor:
    """PLDM's variance over time: ``variance`` with the standard deviation over T."""
    return functional.relu(margin - (latents.var(1) + epsilon).sqrt()).mean()


def time_similarity(latents: Tensor) -> Tensor:
    """PLDM's slowness: mean of (z_{t+1} - z_t)^2, with gradients to both latents."""
    return (latents[:, 1:] - latents[:, :-1]).square().mean()


def curvature(latents: Tensor) -> Tensor:
    """Temporal straightening: mean of 1 - cos(v_t, v_{t+1}) with v_t = z_{t+1} - z_t, T >= 3."""
    velocity = latents[:, 1:] - latents[:, :-1]
    return 1.0 - functional.cosine_similarity(velocity[:, 1:], velocity[:, :-1], dim=-1).mean()


def temporal_similarity(latents: Tensor, *, sigma: float = 2.0) -> Tensor:
    """Return the mean squared error of cosine similarities within a clip to a decay over time.

    The target similarity of frames i and j is ``exp(-|i - j| / sigma)``, so that distances between
    latents grow with time (SpecWM, TDWM). Latents are first centred over the batch.

    Args:
        latents: Latents [B, T, D].
        sigma: Number of model steps over which the target similarity falls to 1 / e.
    """
    centred = latents - latents.mean((0, 1), keepdim=True)
    unit = functional.normalize(centred.float(), dim=-1)
    time = torch.arange(latents.shape[1], dtype=torch.float32, device=latents.device)
    target = (-(time[:, None] - time).abs() / sigma).exp()
    return (unit @ unit.transpose(1, 2) - target).square().mean()


def sigreg(
    latents: Tensor,
    generator: torch.Generator,
    *,
    num_directions: int = 256,
    num_knots: int = 17,
    limit: float = 3.0,
) -> Tensor:
    """SIGReg (LeJEPA, 2025): Epps-Pulley distance of random projections from N(0, 1).

    Each time step is tested separately, over the B samples. The statistic keeps its factor B, so a
    suitable weight depends on the batch size: 0.05 to 0.1 for B = 128. The integral over [-limit,
    limit] uses the trapezoid rule and symmetry, weighted with the characteristic function of the
    normal distribution.

    Args:
        latents: Latents [B, T, D].
        generator: Random generator of the directions, which are drawn in each call.
        num_directions: Number of random unit vectors.
        num_knots: Number of knots of the quadrature on [0, limit].
        limit: Largest knot.
    """
    samples, _, size = latents.shape
    directions = functional.normalize(
        torch.randn(size, num_directions, generator=generator), dim=0
    ).to(latents.device)
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
    """Return the mean squared error of decoded actions [B, T-1, A], in normalised units."""
    return functional.mse_loss(decoded, actions)


def mcr2(latents: Tensor, *, distortion: float = 0.5) -> Tensor:
    """Negative coding rate of MCR2 (Yu et al., 2020, eq. 1): -1/2 logdet(I + D / (N e) Z'Z).

    The N = B*T rows of Z have unit length, and ``distortion`` is e, the squared precision of the
    code. Only MCR2's expansion term is used. Its compression term, which needs classes, is replaced
    by the prediction error of the world model.

    The value is -D/2 log(1 + 1/e) if all directions are used equally, and -1/2 log(1 + D/e) at a
    collapse. It does not depend on the lengths of latents, so use it with ``sphere``.
    """
    flat = functional.normalize(latents.flatten(0, -2).float(), dim=-1)
    count, size = flat.shape
    gram = flat.T @ flat if size <= count else flat @ flat.T  # both have the same determinant
    return -0.5 * torch.logdet(
        torch.eye(len(gram), device=gram.device) + gram * (size / (count * distortion))
    )


def mmcr(predicted: Tensor, target: Tensor, *, within: float = 0.0) -> Tensor:
    """MMCR (Yerxa et al., 2023, eq. 2-3): minus the nuclear norm of the centroids [B, D].

    The two views of a sample are the prediction and its target latent, [B, H, D] each. Both are
    projected onto the unit sphere, and their mean is the centroid. As published, the sum is not
    divided by B: the value is at least -sqrt(B min(B, D)), and -sqrt(B) at a collapse. ``within``
    is the weight of the mean nuclear norm of each sample's two views [2, D], 0 in the paper.
    """
    views = torch.stack(
        [functional.normalize(part.float(), dim=-1) for part in (predicted, target)], dim=2
    )  # [B,H,2,D]
    centroids = views.mean(2).transpose(0, 1)  # [H, B, D]
    spread = -torch.linalg.matrix_norm(centroids, ord="nuc").mean()
    return spread + within * torch.linalg.matrix_norm(views, ord="nuc").mean() if within else spread


def barlow(predicted: Tensor, target: Tensor, *, off_diagonal: float = 5e-3) -> Tensor:
    """Barlow Twins (Zbontar et al., 2021, eq. 1-2), mean over time steps.

    The value is sum_i (1 - C_ii)^2 + off_diagonal * sum_{i != j} C_ij^2, where C [D, D] is the
    cross-correlation over B of predictions [B, H, D] and their target latents. As published, it is
    a sum, which grows with D. It does not depend on the scale of latents, so use it with
    ``sphere``.
    """
    first, second = (_standardised(part) for part in (predicted, target))
    total = predicted.new_zeros((), dtype=torch.float32)
    for step in range(predicted.shape[1]):
        matrix = first[:, step].T @ second[:, step] / len(first)
        total = (
            total + (1 - matrix.diagonal()).square().sum() + off_diagonal * _off_diagonal(matrix)
        )
    return total / predicted.shape[1]


def _standardised(latents: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Return latents with mean 0 and variance 1 over the batch axis."""
    centred = latents.float() - latents.float().mean(0)
    return centred / (centred.square().mean(0) + epsilon).sqrt()


def infonce(predicted: Tensor, target: Tensor, *, temperature: float = 0.1) -> Tensor:
    """InfoNCE (van den Oord et al., 2018, eq. 4), mean over B and H. The contrastive control.

    The value is -log softmax_j(cos(p_i, z_j) / temperature) at j = i. Negatives are the latents of
    the other B - 1 windows at the same step, so that similar frames of the same window are never
    negatives. The value is about 0 at best, and log B at a collapse.
    """
    first, second = (
        functional.normalize(part.float(), dim=-1).transpose(0, 1) for part in (predicted, target)
    )
    logits = first @ second.transpose(1, 2) / temperature  # [H, B, B]
    return -logits.log_softmax(-1).diagonal(dim1=1, dim2=2).mean()


LATENT_TERMS: dict[str, Callable[..., Tensor]] = {
    "variance": variance,
    "covariance": covariance,
    "temporal_variance": temporal_variance,
    "time_similarity": time_similarity,
    "curvature": curvature,
    "sigreg": sigreg,
    "mcr2": mcr2,
    "temporal_similarity": temporal_similarity,
}
PAIR_TERMS: dict[str, Callable[..., Tensor]] = {"mmcr": mmcr, "barlow": barlow, "infonce": infonce}
