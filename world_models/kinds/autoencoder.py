"""The generative control: encoder and predictor of a JEPA, trained on pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.base import Context, TrajectoryBatch, rollout
from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
from jepabench.world_models.networks.heads import Decoder
from jepabench.world_models.training import objectives


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(JEPAConfig):
    """Configuration of the generative control.

    Attributes:
        pixel_weight: Weight of both reconstruction errors, of encoded and of imagined frames.
        decoder_width: Number of channels of the decoder's last upsampling stage.
        image_size: Side length of the frames in pixels.
    """

    pixel_weight: float = 10.0
    decoder_width: int = 16
    image_size: int = 64


class Autoencoder(JEPA):
    """A model that reconstructs frames from encoded and imagined latents.

    The loss has three terms: the squared error of frames decoded from their own latents, the
    squared error of frames decoded from imagined latents, and the prediction error with a stopped
    gradient at its target. Each reconstruction uses one random frame per window, which halves the
    cost. The prediction error makes distances between imagined and encoded latents meaningful to a
    planner. The decoder is part of the model. A JEPA has none during training; a decoder for
    pictures is trained afterwards.
    """

    config_class = AutoencoderConfig

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        self.pixel_weight = config.pixel_weight
        size = config.latent_dim * (self.num_positions or 1)
        mean_frame = torch.full((config.image_size, config.image_size, 3), 127.0)
        self.decoder = Decoder(latent_dim=size, mean_frame=mean_frame, width=config.decoder_width)
        # The output starts as the mean frame. Otherwise noise would dominate the error for a
        # long time.
        for parameter in self.decoder.grow[-1].parameters():
            nn.init.zeros_(parameter)

    def prepare(
        self,
        dataset: EpisodeDataset,
        *,
        directory: Path,
        train: Callable[..., object],
        progress: bool = True,
    ) -> EpisodeDataset:
        """Set the mean frame of the decoder from the data; return the dataset unchanged."""
        del directory, train, progress
        frames = dataset.field("pixels")
        rows = np.sort(np.random.default_rng(0).permutation(len(frames))[:1024])
        self.decoder.mean_frame.copy_(torch.from_numpy(frames[rows].mean(0)))
        return dataset

    @property
    def needs_frames(self) -> bool:
        """True: imagined latents are decoded and compared with frames."""
        return True

    def prediction_terms(
        self, latents: Tensor, batch: TrajectoryBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the prediction terms of latents [B, T, *latent]; see ``JEPA.prediction_terms``."""
        known = self.config.history
        frames = batch.observations[self.observation_key]
        context = Context(latents[:, :known], batch.actions[:, : known - 1])
        imagined = rollout(self, context, batch.actions[:, None, known - 1 :])[:, 0]
        windows = torch.arange(len(frames))
        now = torch.randint(0, frames.shape[1], (len(frames),), generator=generator)
        later = torch.randint(0, imagined.shape[1], (len(frames),), generator=generator)
        return {
            "prediction": objectives.prediction_error(
                imagined, latents[:, known:], stop_gradient=True
            ),
            "reconstruction": self.pixel_weight
            * self.decoder.loss(latents[windows, now], frames[windows, now]),
            "imagined_reconstruction": self.pixel_weight
            * self.decoder.loss(imagined[windows, later], frames[windows, known + later]),
        }

    def _make_predictor(self) -> nn.Module:
        if self.config.momentum or self.config.terms.keys() & objectives.PAIR_TERMS.keys():
            raise ValueError(
                "The generative control allows no momentum and no terms on predictions."
            )
        return super()._make_predictor()
