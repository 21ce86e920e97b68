"""Training of a decoder on the latents of a finished model. It is only used for pictures."""

from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.analysis.diagnostics import encode_frames
from jepabench.world_models.base import WorldModel
from jepabench.world_models.networks.heads import Decoder

_NUM_FRAMES = 4096


def train_decoder(
    model: WorldModel,
    dataset: EpisodeDataset,
    *,
    num_steps: int,
    seed: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    progress: bool = True,
) -> Decoder:
    """Train a decoder on latents of a finished model. No gradient reaches the model.

    Args:
        model: World model from pixels, in eval mode.
        dataset: Frames to decode; at most 4096 of them are used.
        num_steps: Number of gradient steps.
        seed: Seed of initialisation and batches.
        batch_size: Number of frames per gradient step.
        learning_rate: Initial learning rate of Adam, which falls linearly to 0.
        progress: Whether to show a progress bar.
    """
    rng = np.random.default_rng([seed, 1])
    total = int((dataset.lengths + 1).sum())
    rows = np.sort(rng.permutation(total)[:_NUM_FRAMES])
    latents = encode_frames(model, dataset, rows)
    frames = torch.from_numpy(np.ascontiguousarray(dataset.field("pixels")[rows]))
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        decoder = Decoder(latent_dim=latents[0].numel(), mean_frame=frames.float().mean(0))
    optimizer = torch.optim.Adam(decoder.parameters(), lr=learning_rate)
    bar = tqdm(range(num_steps), desc="decoder", unit="step", disable=not progress, leave=False)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / num_steps)
        picked = torch.from_numpy(rng.integers(len(rows), size=batch_size))
        loss = decoder.loss(latents[picked], frames[picked])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return decoder.eval()
