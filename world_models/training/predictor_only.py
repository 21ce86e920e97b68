"""Training of a JEPA's predictor alone, on fixed latents of its finished encoder.

From pixels, the encoder takes most of the time of a training step, while contacts are hard for the
predictor. With fixed latents, about ten times as many gradient steps fit in the same time, and the
loss cannot fall by making latents easier to predict.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.base import TrajectoryBatch
from jepabench.world_models.kinds.jepa import JEPA

LATENTS = "latents"


class PredictorOnly(nn.Module):
    """A JEPA in which only the predictor is trained. It shares the modules of the given model.

    Args:
        model: JEPA of any kind.
    """

    training_key = LATENTS

    def __init__(self, model: JEPA) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.model.predictor.requires_grad_(True)
        self.observation_key, self.history = model.observation_key, model.history
        self.window, self.action_size = model.window, model.action_size

    def encode(self, observation: Tensor) -> Tensor:
        """Encode observations [N, ...] into latents [N, *latent]."""
        return self.model.encode(observation)

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, *latent] from latents [N, k, *latent] and actions [N, k, A], k <= K."""
        return self.model.predict(latents, actions)

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the prediction terms on the latents of the batch."""
        return self.model.prediction_terms(batch.observations[LATENTS], batch, generator)


@torch.inference_mode()
def encode_dataset(
    model: JEPA, dataset: EpisodeDataset, *, progress: bool = True, batch_size: int = 512
) -> EpisodeDataset:
    """Return the dataset with one more field, ``latents`` float32 [F, *latent], in eval mode."""
    model.eval()
    frames = dataset.field(model.observation_key)
    chunks = []
    starts = range(0, len(frames), batch_size)
    for first in tqdm(starts, desc="encode", disable=not progress, leave=False):
        chunk = torch.from_numpy(np.array(frames[first : first + batch_size]))
        chunks.append(model.encode(chunk if chunk.dtype == torch.uint8 else chunk.float()).numpy())
    return dataset.with_field(LATENTS, np.concatenate(chunks))
