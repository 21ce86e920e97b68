"""Imagined latents along recorded episodes, to be compared with the encoded ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.analysis.diagnostics import encode_frames
from jepabench.world_models.base import Context, WorldModel, rollout

if TYPE_CHECKING:
    from jepabench.world_models.checkpoint import LoadedWorldModel


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of recorded episodes with K known and H imagined steps.

    Attributes:
        starts: Row of each window's first frame [N].
        episodes: Number of each window's episode [N].
        known: K.
        latents: Encoded frames [N, K+H, *latent].
        actions: Normalised model-step actions [N, K+H-1, A].
    """

    starts: NDArray[np.int64]
    episodes: NDArray[np.int64]
    known: int
    latents: Tensor
    actions: Tensor

    @property
    def context(self) -> Context:
        """Context of the imagined part."""
        return Context(self.latents[:, : self.known], self.actions[:, : self.known - 1])

    @property
    def present(self) -> Tensor:
        """The last known latents [N, *latent]."""
        return self.latents[:, self.known - 1]

    @property
    def future(self) -> Tensor:
        """The latents of the recorded frames [N, H, *latent]."""
        return self.latents[:, self.known :]

    @property
    def plans(self) -> Tensor:
        """The recorded actions [N, H, A]."""
        return self.actions[:, self.known - 1 :]

    def rows(self, step: int) -> NDArray[np.int64]:
        """Return the dataset rows [N] after imagined step ``step``, 1 to H; 0 is the present."""
        return self.starts + self.known - 1 + step


def find_episodes(dataset: EpisodeDataset, rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the number of the episode that each row [N] belongs to."""
    return np.searchsorted(dataset.starts, rows, side="right") - 1


@torch.inference_mode()
def draw_windows(
    loaded: LoadedWorldModel,
    dataset: EpisodeDataset,
    *,
    num_steps: int,
    num_windows: int | None = None,
    episodes: NDArray[np.integer] | None = None,
    rng: np.random.Generator,
) -> Windows:
    """Draw windows without replacement and encode them.

    Args:
        loaded: The world model, which encodes frames and scales actions.
        dataset: Recorded episodes.
        num_steps: H.
        num_windows: Largest number of windows; None for all.
        episodes: Numbers of the episodes to draw from; None for all.
        rng: Draws.

    Raises:
        ValueError: No episode is long enough.
    """
    model, scale = loaded.model, loaded.scale
    known = model.history
    starts = dataset.window_starts(known + num_steps)
    if episodes is not None:
        starts = starts[np.isin(find_episodes(dataset, starts), episodes)]
    if not len(starts):
        raise ValueError(
            f"{num_steps} imagined steps after {known} known frames need episodes of "
            f"{known + num_steps - 1} model steps; the longest has {int(dataset.lengths.max())}. "
            "Use fewer steps, or collect longer episodes."
        )
    if num_windows is not None and num_windows < len(starts):
        starts = np.sort(rng.choice(starts, num_windows, replace=False))
    rows = starts[:, None] + np.arange(known + num_steps)
    frames, places = np.unique(
        rows, return_inverse=True
    )  # windows overlap: each frame is encoded once
    latents = encode_frames(model, dataset, frames)[torch.from_numpy(places.reshape(-1))]
    raw = torch.from_numpy(
        np.asarray(dataset.gather("action", starts, known + num_steps), np.float32)
    )
    return Windows(
        starts=starts,
        episodes=find_episodes(dataset, starts),
        known=known,
        latents=latents.view(*rows.shape, *latents.shape[1:]),
        actions=scale.normalise(raw[:, :-1]),
    )


@torch.inference_mode()
def imagine(model: WorldModel, windows: Windows, actions: Tensor | None = None) -> Tensor:
    """Return imagined latents [N, H, *latent].

    ``actions`` [N, H, A] are the recorded ones by default.
    """
    plans = windows.plans if actions is None else actions
    return rollout(model, windows.context, plans[:, None])[:, 0]
