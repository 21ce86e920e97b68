"""A predictor that learns on after its encoder is finished: every frame is encoded once, so a step costs what the predictor costs.

Most of a training step from pixels is spent in the encoder, but what is hard about contacts is the predictor's part. With
the latents fixed, a minute holds some ten times more gradient steps, and the loss can no longer be lowered by latents that
are easier to predict.
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


class PredictorAlone(nn.Module):
    """The same JEPA as one whose predictor is all that learns. A view, not a copy: the model that is given is trained.

    Args:
        model: a JEPA, or a relative with another kind of predictor.
    """

    training_key = LATENTS

    def __init__(self, model: JEPA) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.model.predictor.requires_grad_(True)
        self.observation_key, self.history, self.window = (
            model.observation_key,
            model.history,
            model.window,
        )
        self.action_size = model.action_size

    def encode(self, observation: Tensor) -> Tensor:
        """Encodes observations [N, ...] into latents [N, *latent]."""
        return self.model.encode(observation)

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predicts the next latent [N, *latent] from latents [N, k, *latent] and actions [N, k, A], k <= K."""
        return self.model.predict(latents, actions)

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Returns the prediction error on latents that the batch brings along."""
        return self.model.prediction_terms(batch.observations[LATENTS], batch, generator)


@torch.inference_mode()
def with_latents(
    model: JEPA, dataset: EpisodeDataset, *, progress: bool = True, batch_size: int = 512
) -> EpisodeDataset:
    """Returns the dataset with one more field, ``latents`` float32 [F, *latent], of the model in eval mode."""
    model.eval()
    frames = dataset.field(model.observation_key)
    chunks = []
    for first in tqdm(
        range(0, len(frames), batch_size), desc="encode", disable=not progress, leave=False
    ):
        chunk = torch.from_numpy(np.array(frames[first : first + batch_size]))
        chunks.append(model.encode(chunk if chunk.dtype == torch.uint8 else chunk.float()).numpy())
    return dataset.with_field(LATENTS, np.concatenate(chunks))
