"""Windows of a dataset as tensors.

A batch is a function of (seed, step) alone, so training resumes exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.base import TrajectoryBatch


@dataclass(frozen=True, slots=True)
class ActionScale:
    """Standardises model-step actions [..., A] with the statistics of the training data."""

    mean: Tensor
    std: Tensor

    @classmethod
    def from_dataset(cls, dataset: EpisodeDataset) -> ActionScale:
        """Return the scale of a dataset's actions."""
        mean, std = dataset.action_statistics()
        return cls(
            torch.as_tensor(mean, dtype=torch.float32), torch.as_tensor(std, dtype=torch.float32)
        )

    def normalise(self, actions: Tensor) -> Tensor:
        """Convert actions from environment units to normalised units."""
        return (actions - self.mean) / self.std

    def restore(self, actions: Tensor) -> Tensor:
        """Convert actions from normalised units to environment units."""
        return actions * self.std + self.mean


class WindowSampler:
    """Draws windows of ``num_frames`` frames that never cross the end of an episode.

    At the start of an episode, a model has fewer than K frames of history. Windows may therefore
    start up to K-1 frames before the episode, where they repeat the first frame with zero actions.
    Planners pad their context in the same way.

    Args:
        dataset: Dataset to draw from.
        observation_key: Observation to return, "pixels" or "observation".
        num_frames: Number T of frames in a window.
        history: Number K of context frames of the model; 1 for no padding.
        scale: Scale of the actions, by default that of ``dataset``. For validation data, pass the
            scale of the training data.
    """

    def __init__(
        self,
        dataset: EpisodeDataset,
        *,
        observation_key: str,
        num_frames: int,
        history: int = 1,
        scale: ActionScale | None = None,
    ) -> None:
        self.dataset, self.observation_key, self.num_frames = dataset, observation_key, num_frames
        self.scale = scale or ActionScale.from_dataset(dataset)
        whole = dataset.window_starts(num_frames)
        first = dataset.starts[dataset.lengths + 1 >= num_frames]
        if not len(whole):
            raise ValueError(
                f"Windows of {num_frames} frames need episodes of {num_frames - 1} model steps; "
                f"the longest has {int(dataset.lengths.max())}. Collect longer episodes or use a "
                "shorter rollout."
            )
        pads = [np.zeros(len(whole), np.int64)] + [
            np.full(len(first), p, np.int64) for p in range(1, history)
        ]
        self._starts = np.concatenate([whole, *[first] * (history - 1)])
        self._pads = np.concatenate(pads)
        self._buffers: dict[int, NDArray[np.generic]] = {}

    def __len__(self) -> int:
        return len(self._starts)

    def sample(
        self, batch_size: int, rng: np.random.Generator, *, rank: int = 0, count: int = 1
    ) -> TrajectoryBatch:
        """Draw ``batch_size`` windows with replacement. The next call overwrites the pixels.

        With ``count`` processes, all draw the same windows, and each keeps every ``count``-th one,
        starting at its ``rank``.
        """
        return self.batch(rng.integers(len(self), size=batch_size)[rank::count])

    def batch(self, indices: NDArray[np.integer]) -> TrajectoryBatch:
        """Return the windows with these numbers [B], 0 to ``len(self) - 1``."""
        starts, pads = self._starts[indices], self._pads[indices]
        frames = self._gather(self.observation_key, starts)
        state = torch.from_numpy(
            np.asarray(self.dataset.gather("observation", starts, self.num_frames), np.float32)
        )
        raw = torch.from_numpy(
            np.asarray(self.dataset.gather("action", starts, self.num_frames), np.float32)
        )
        if pads.any():
            rows = np.flatnonzero(pads)
            shifted = np.arange(self.num_frames)[None] - pads[rows, None]
            index = torch.from_numpy(np.maximum(shifted, 0))
            which = torch.from_numpy(rows)
            frames[which] = frames[which[:, None], index]
            state[which] = state[which[:, None], index]
            moved = raw[which[:, None], index]
            raw[which] = torch.where(torch.from_numpy(shifted >= 0)[..., None], moved, 0.0)
        return TrajectoryBatch(
            {self.observation_key: frames}, self.scale.normalise(raw[:, :-1]), state
        )

    def _gather(self, key: str, starts: NDArray[np.integer]) -> Tensor:
        if key != "pixels":
            return torch.from_numpy(
                np.asarray(self.dataset.gather(key, starts, self.num_frames), np.float32)
            )
        buffer = self._buffers.get(len(starts))
        self._buffers[len(starts)] = self.dataset.gather(key, starts, self.num_frames, out=buffer)
        return torch.from_numpy(self._buffers[len(starts)])


def step_generators(seed: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """Return the random streams of a training step, which depend on (seed, step) alone."""
    sequence = np.random.SeedSequence([seed, step])
    return np.random.default_rng(sequence), torch.Generator().manual_seed(
        int(sequence.generate_state(1, np.uint64)[0] >> 1)
    )
