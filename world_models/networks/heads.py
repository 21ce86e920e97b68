"""Heads on trained latents: a decoder to frames and a ridge probe. They never train the model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jepabench.world_models.analysis.probes import fit_linear, score


class Decoder(nn.Module):
    """Decodes latents [N, *latent] into frames [N, s, s, 3], as a change of the mean frame.

    Args:
        latent_dim: numbers in a latent: D, or P D where it has positions.
        mean_frame: mean of the training frames, uint8 or float [size, size, 3] in [0, 255].
        width: channels of the last upsampling stage.
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

        Pixels that differ from the mean frame are few and have larger weights.
        """
        target = frames.float() / 255
        weight = 1.0 + 20.0 * (target - self.mean_frame / 255).abs().amax(-1, keepdim=True)
        return (weight * (self(latents) - target).square()).mean()

    @torch.inference_mode()
    def paint(self, latents: Tensor) -> NDArray[np.uint8]:
        """Decode latents [N, *latent] into uint8 frames [N, size, size, 3]."""
        return (self(latents).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def ridge_probe_r2(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, regularisation: float = 1e-3
) -> NDArray[np.float64]:
    """Fit a linear probe on standardised latents; return R2 of each quantity on test data [Q].

    Args:
        train, test: (latents [N, D], quantities [N, Q]) from different episodes.
        regularisation: ridge weight per sample.

    Returns:
        1 is perfect, 0 is the mean, below 0 worse than that; NaN where the quantity does not vary.
    """
    probe = fit_linear(train[0], train[1], regularisation=regularisation)
    return score(probe(test[0]), test[1]).r2
