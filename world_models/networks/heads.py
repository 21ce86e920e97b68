"""Heads on trained latents: a decoder to frames, a perceptron and a ridge probe.

Heads do not train the model.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jepabench.world_models.analysis.probes import fit_linear, score


class Decoder(nn.Module):
    """A decoder from latents [N, *latent] to differences from the mean frame [N, s, s, 3].

    Args:
        latent_dim: Number of entries of a latent, D, or P * D for one with positions.
        mean_frame: Mean of the training frames, uint8 or float [size, size, 3] in [0, 255].
        width: Number of channels of the last upsampling stage.
    """

    mean_frame: Tensor

    def __init__(self, *, latent_dim: int, mean_frame: Tensor, width: int = 16) -> None:
        super().__init__()
        self.register_buffer("mean_frame", mean_frame.float())
        self.cells = mean_frame.shape[0] // 8
        self.width = width
        self.project = nn.Sequential(
            nn.Linear(latent_dim, 256),
            nn.GELU(),
            nn.Linear(256, 4 * width * self.cells * self.cells),
            nn.GELU(),
        )
        self.grow = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Decode latents [N, *latent] into float frames [N, size, size, 3], nominally in [0, 1]."""
        maps = self.project(latents.flatten(1)).view(-1, 4 * self.width, self.cells, self.cells)
        return self.grow(maps).permute(0, 2, 3, 1) + self.mean_frame / 255

    def loss(self, latents: Tensor, frames: Tensor) -> Tensor:
        """Return the squared error to uint8 frames [N, s, s, 3].

        Few pixels differ from the mean frame, so these have larger weights.
        """
        target = frames.float() / 255
        weight = 1.0 + 20.0 * (target - self.mean_frame / 255).abs().amax(-1, keepdim=True)
        return (weight * (self(latents) - target).square()).mean()

    @torch.inference_mode()
    def paint(self, latents: Tensor) -> NDArray[np.uint8]:
        """Decode latents [N, *latent] into uint8 frames [N, size, size, 3]."""
        return (self(latents).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def make_perceptron(input_size: int, output_size: int, *, width: int, depth: int) -> nn.Sequential:
    """Make a multilayer perceptron with ``depth`` hidden layers, each with a layer norm."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([input_size, *[width] * depth]):
        layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(width if depth else input_size, output_size))


def ridge_probe_r2(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, regularisation: float = 1e-3
) -> NDArray[np.float64]:
    """Fit a linear probe on standardised latents; return R2 of each quantity on test data [Q].

    Args:
        train, test: Latents [N, D] and quantities [N, Q] from different episodes.
        regularisation: Ridge weight per sample.

    Returns:
        R2 of each quantity: 1 is perfect, and 0 is as good as predicting the mean. NaN if the
        quantity does not vary.
    """
    probe = fit_linear(train[0], train[1], regularisation=regularisation)
    return score(probe(test[0]), test[1]).r2
