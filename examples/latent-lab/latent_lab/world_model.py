"""A kind of world model with an encoder and a loss of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jepabench.world_models.base import TrajectoryBatch


@dataclass(frozen=True, kw_only=True)
class BlobConfig:
    """Settings of ``BlobModel``; they are saved in ``model.json``.

    Attributes:
        num_blobs: Blobs N; a latent holds their 2 N coordinates.
        variance_weight: Weight of the term that keeps latents apart.
        action_size: Action size A of a model step; filled in from the data.
    """

    num_blobs: int = 8
    variance_weight: float = 0.5
    action_size: int

    def __post_init__(self) -> None:
        if self.num_blobs < 1:
            raise ValueError(f"num_blobs must be at least 1, got {self.num_blobs}.")


class BlobModel(nn.Module):
    """Encodes a frame as the centres of soft blobs, and predicts how they move.

    Each blob is a feature map, and its centre is the mean position under the softmax of the map
    (spatial soft-argmax; Finn et al., 2016). The dynamics are linear in the latent and the action.
    """

    config_class = BlobConfig
    observation_key = "pixels"
    history = 1
    window = 3

    def __init__(self, config: BlobConfig) -> None:
        super().__init__()
        self.config, self.action_size = config, config.action_size
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(16, config.num_blobs, 5, padding=2),
        )
        size = 2 * config.num_blobs
        self.dynamics = nn.Linear(size + config.action_size, size)

    def encode(self, observation: Tensor) -> Tensor:
        """Encode frames uint8 [N, side, side, 3] into latents [N, 2 * num_blobs]."""
        maps = self.features(observation.permute(0, 3, 1, 2) / 255 - 0.5)
        weights = maps.flatten(2).softmax(-1).unflatten(-1, maps.shape[-2:])
        rows, columns = (
            torch.linspace(-1, 1, length, device=maps.device) for length in maps.shape[-2:]
        )
        centres = torch.stack([(weights.sum(3) * rows).sum(2), (weights.sum(2) * columns).sum(2)])
        return 10 * centres.permute(1, 2, 0).flatten(1)

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict the next latent [N, D] from latents [N, K, D] and actions [N, K, A]."""
        return latents[:, -1] + self.dynamics(torch.cat([latents[:, -1], actions[:, -1]], dim=-1))

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the prediction error over two steps, and a variance term.

        The variance term is the hinge of VICReg (Bardes et al., 2022): it grows where the standard
        deviation of a latent coordinate over the batch falls below 1.
        """
        del generator  # nothing is random
        frames = batch.observations["pixels"]
        latents = self.encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        predicted, error = latents[:, 0], latents.new_zeros(())
        for step in range(self.window - 1):
            predicted = self.predict(predicted[:, None], batch.actions[:, step : step + 1])
            error = error + (predicted - latents[:, step + 1]).square().mean()
        spread = (latents.flatten(0, 1).var(0) + 1e-4).sqrt()
        return {
            "prediction": error,
            "variance": self.config.variance_weight * torch.relu(1 - spread).mean(),
        }
