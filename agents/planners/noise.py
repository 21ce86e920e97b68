"""Random numbers of searches: one stream per problem, white or coloured along the horizon."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.linalg import toeplitz
from torch import Tensor


def draw_normal(
    shape: Sequence[int],
    generators: Sequence[torch.Generator],
    *,
    like: Tensor,
    colour: float = 0.0,
    active: Tensor | None = None,
) -> Tensor:
    """Return standard normal noise [B, *shape], drawn from one stream per problem.

    Args:
        shape: Shape of the noise of one problem, (S, H, A).
        generators: One random stream per problem.
        like: A tensor with the dtype and the device of the noise.
        colour: Exponent of the power spectrum along H; see ``coloured_root``.
        active: Problems that draw noise [B], or None for all. The noise of the other problems is 0
            and their streams do not advance.
    """
    # The streams are those of the CPU on every device, so that a plan meets the same noise.
    noise = torch.empty((len(generators), *shape), dtype=like.dtype)
    for row, generator in enumerate(generators):
        if active is None or bool(active[row]):
            noise[row].normal_(generator=generator)
        else:
            noise[row].zero_()
    noise = noise.to(like.device, non_blocking=True)
    if colour == 0:
        return noise
    # One product per problem, each with the same memory layout: the rounding of a batched product
    # depends on B.
    root = coloured_root(shape[-2], colour).to(noise)
    steps_first = noise.transpose(1, 2).flatten(2)  # [B, H, S * A]
    coloured = torch.stack([root @ white for white in steps_first])
    return coloured.unflatten(2, (-1, shape[-1])).transpose(1, 2)


@lru_cache(maxsize=64)
def coloured_root(horizon: int, colour: float) -> Tensor:
    """Return the lower triangular matrix [H, H] that colours white noise.

    The result has unit variance and a spectrum that falls as 1/f^colour: 0 is white, 1 pink and 2
    red. With larger values, an action keeps its sign for longer. As in iCEM (Pinneri et al., 2020)
    after Timmer and Koenig (1995), with frequencies below one period in H cut off. Their noise is
    periodic in H, so that the last step resembles the first; ours is cut from noise of twice the
    length.
    """
    length = 2 * horizon
    frequency = np.maximum(np.fft.rfftfreq(length), 1 / horizon)
    covariance = np.fft.irfft(frequency**-colour, length)[:horizon]
    matrix = toeplitz(covariance / covariance[0]) + 1e-9 * np.eye(horizon)
    return torch.from_numpy(np.linalg.cholesky(matrix)).float()
