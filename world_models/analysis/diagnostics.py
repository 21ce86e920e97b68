"""Diagnostics of a latent space: collapse, probes and prediction error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.base import Context, WorldModel, rollout
from jepabench.world_models.networks.heads import ridge_probe_r2
from jepabench.world_models.training.batches import ActionScale, WindowSampler


class CollapseError(RuntimeError):
    """The latents carry almost no information, so planning with them cannot work."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """State of a latent space on held-out episodes.

    Attributes:
        std_mean, std_min: Mean and minimum over latent dimensions of the standard deviation over
            samples; near 0 is collapse.
        effective_rank: Exp of the entropy of the normalised singular values, 1 to D.
        probe_r2: Linear-probe R2 of each true-state quantity [O]; higher is better.
        error_ratio: Squared error of the k-step prediction over that of copying the last latent, k
            = 1..; below 1 is useful.
        straightness: Mean cosine of successive latent velocities, -1 to 1.
    """

    std_mean: float
    std_min: float
    effective_rank: float
    probe_r2: tuple[float, ...]
    error_ratio: tuple[float, ...]
    straightness: float

    @property
    def collapsed(self) -> bool:
        """Whether the latents have no spread or lie on a line through their mean."""
        return not np.isfinite(self.std_mean) or self.std_mean < 3e-2 or self.effective_rank < 1.2

    def scalars(self) -> Mapping[str, float]:
        """Return flat names and numbers, for logs."""
        flat = {
            "std_mean": self.std_mean,
            "std_min": self.std_min,
            "effective_rank": self.effective_rank,
            "straightness": self.straightness,
            "probe_r2_mean": float(np.nanmean(self.probe_r2)),
        }
        flat |= {f"probe_r2_{index}": value for index, value in enumerate(self.probe_r2)}
        return flat | {
            f"error_ratio_{index + 1}": value for index, value in enumerate(self.error_ratio)
        }


def effective_rank(latents: Tensor) -> float:
    """Return exp of the entropy of the normalised singular values of centred latents [N, D].

    Between 1 and D (Roy & Vetterli, 2007).
    """
    singular = torch.linalg.svdvals((latents - latents.mean(0)).double())
    if float(singular.sum()) < 1e-12:
        return 1.0
    share = singular / singular.sum()
    return float(torch.exp(-(share * torch.log(share.clamp_min(1e-12))).sum()))


@torch.inference_mode()
def encode_frames(
    model: WorldModel, dataset: EpisodeDataset, rows: np.ndarray, *, batch_size: int = 512
) -> Tensor:
    """Encode the dataset's frames with these row numbers [N] into latents [N, *latent]."""
    field = dataset.field(model.observation_key)
    chunks = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return torch.cat(
        [model.encode(torch.from_numpy(np.ascontiguousarray(field[chunk]))) for chunk in chunks]
    )


@torch.inference_mode()
def diagnose(
    model: WorldModel,
    dataset: EpisodeDataset,
    *,
    scale: ActionScale,
    num_windows: int = 256,
    num_steps: int = 4,
    num_frames: int = 2000,
    seed: int = 0,
) -> Diagnosis:
    """Diagnose a model on held-out episodes.

    The probe is fitted on the first half of the episodes and tested on the second.

    Args:
        model: In any mode; evaluated in eval mode.
        dataset: Validation episodes.
        scale: Action scale of the training data.
        num_windows, num_steps: For the k-step prediction error, k = 1..num_steps.
        num_frames: For spread, rank and probe.
        seed: Seed of the choice of frames and windows.
    """
    module = model if isinstance(model, nn.Module) else nn.Module()
    training, _ = module.training, module.eval()
    rng = np.random.default_rng(seed)
    middle = int(dataset.starts[len(dataset) // 2])
    total = int((dataset.lengths + 1).sum())
    halves = [
        np.sort(rng.permutation(np.arange(*span))[: num_frames // 2])
        for span in ((0, middle), (middle, total))
    ]
    latents = [encode_frames(model, dataset, rows).flatten(1).float() for rows in halves]
    states = [
        torch.from_numpy(np.asarray(dataset.field("observation")[rows], np.float32))
        for rows in halves
    ]
    spread = torch.cat(latents).std(0)
    ratios, straightness = _prediction(model, dataset, scale, num_windows, num_steps, rng)
    module.train(training)
    return Diagnosis(
        std_mean=float(spread.mean()),
        std_min=float(spread.min()),
        effective_rank=effective_rank(torch.cat(latents)),
        probe_r2=tuple(ridge_probe_r2((latents[0], states[0]), (latents[1], states[1])).tolist()),
        error_ratio=ratios,
        straightness=straightness,
    )


def _prediction(
    model: WorldModel,
    dataset: EpisodeDataset,
    scale: ActionScale,
    num_windows: int,
    num_steps: int,
    rng: np.random.Generator,
) -> tuple[tuple[float, ...], float]:
    known = model.history
    sampler = WindowSampler(
        dataset,
        observation_key=model.observation_key,
        num_frames=known + num_steps,
        history=known,
        scale=scale,
    )
    batch = sampler.sample(num_windows, rng)
    frames = batch.observations[model.observation_key]
    latents = model.encode(frames.flatten(0, 1))
    latents = latents.view(*frames.shape[:2], *latents.shape[1:])
    context = Context(latents[:, :known], batch.actions[:, : known - 1])
    imagined = rollout(model, context, batch.actions[:, None, known - 1 :])[:, 0]
    imagined, latents = (
        imagined.flatten(2),
        latents.flatten(2),
    )  # patch latents [P, D] as one vector
    error = (imagined - latents[:, known:]).square().mean((0, 2))
    copied = (latents[:, known - 1 : known] - latents[:, known:]).square().mean((0, 2))
    velocity = latents[:, 1:] - latents[:, :-1]
    straight = torch.nn.functional.cosine_similarity(
        velocity[:, 1:], velocity[:, :-1], dim=-1
    ).mean()
    return tuple((error / copied.clamp_min(1e-12)).tolist()), float(straight)
