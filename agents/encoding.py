"""Observations into the latents of a world model, for every agent that acts on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.errors import unknown_name
from jepabench.world_models.analysis.diagnostics import encode_frames
from jepabench.world_models.base import WorldModel

GOAL_KEYS = {"pixels": "goal_pixels", "observation": "desired_goal"}


def observation_keys(model: WorldModel) -> tuple[str, str]:
    """Return the keys that an agent with this model looks at: what is seen now, and the goal.

    Raises:
        UnknownNameError: the model encodes something else.
    """
    if model.observation_key not in GOAL_KEYS:
        raise unknown_name("observation_key of a world model", model.observation_key, GOAL_KEYS)
    return model.observation_key, GOAL_KEYS[model.observation_key]


@torch.no_grad()
def encode_rows(
    model: WorldModel, observations: Mapping[str, NDArray[Any]], rows: Sequence[int]
) -> Tensor:
    """Return the latents [N, *latent] of what N = len(rows) episodes see now."""
    key, _ = observation_keys(model)
    return model.encode(_tensor(observations[key][list(rows)]))


@torch.no_grad()
def encode_goal_rows(
    model: WorldModel, observations: Mapping[str, NDArray[Any]], rows: Sequence[int]
) -> Tensor:
    """Return the latents [N, *latent] of the goals of N = len(rows) episodes.

    A model of pixels encodes the goal image. A model of the true state (the state twin) encodes
    ``goal_observation``; compare such latents in the goal's entries only (``GoalDistance.dims``).
    """
    key, goal_key = observation_keys(model)
    goals = observations[goal_key][list(rows)]
    if key == "observation":
        goals = goal_observation(goals, size=observations[key].shape[1])
    return model.encode(_tensor(goals))


def goal_observation(goals: NDArray[Any], *, size: int) -> NDArray[np.float64]:
    """Return observations [N, size] at goals [N, G]: the goal first, where every task puts it, then
    0 (at rest).
    """
    return np.concatenate([goals, np.zeros((len(goals), size - goals.shape[1]))], axis=1)


class Table(Protocol):
    """All frames of a dataset as one kind of input, indexed by row numbers int64 [N]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[num_frames, ...]."""
        ...

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Return the frames in these rows [N, ...]."""
        ...


class FrameTable:
    """The frames of a dataset as they are on disk, read when they are asked for.

    Args:
        field: uint8 [num_frames, size, size, 3], memory-mapped.
    """

    def __init__(self, field: NDArray[np.uint8]) -> None:
        self._field = np.asarray(field)
        self.shape: tuple[int, ...] = field.shape

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        return torch.from_numpy(np.take(self._field, rows.numpy(), axis=0))


class Features:
    """What a policy sees of now and of the goal: the low-dimensional state, frozen latents of a
    world model, or frames.

    Args:
        model: a world model, or None.
        pixels: without a model, frames instead of the state.

    Attributes:
        inputs: "state", "latents" or "pixels".
        observation_keys: what the policy's agent looks at.
    """

    def __init__(self, model: WorldModel | None, *, pixels: bool = False) -> None:
        self.model = model
        self.inputs = "latents" if model else "pixels" if pixels else "state"
        self._key = model.observation_key if model else "pixels" if pixels else "observation"
        self.observation_keys = (self._key, GOAL_KEYS[self._key])

    def tables(self, dataset: EpisodeDataset) -> tuple[Table, Table]:
        """Return all frames of a dataset as present [N, D] and as goal [N, D']; latents are encoded
        once, frames stay on disk.

        Raises:
            UnknownNameError: the dataset has no frames and they are needed.
        """
        if self.inputs == "pixels":
            frames = FrameTable(dataset.field("pixels"))
            return frames, frames
        return self.vectors(dataset)

    def vectors(self, dataset: EpisodeDataset) -> tuple[Tensor, Tensor]:
        """Return ``tables`` of states or latents, float32 [N, D] and [N, D']."""
        rows = np.arange(len(dataset.field("achieved_goal")))
        if self.model is None:
            return torch.from_numpy(
                np.array(dataset.field("observation"), np.float32)
            ), self.goal_rows(dataset, rows)
        latents = encode_frames(self.model, dataset, rows).flatten(1).clone()
        return latents, latents if self._key == "pixels" else self.goal_rows(dataset, rows).flatten(
            1
        )

    def goal_rows(self, dataset: EpisodeDataset, rows: NDArray[np.int64]) -> Tensor:
        """Return the goals that were reached in these rows of a dataset, as an agent sees them:
        states [N, D'] or latents [N, *latent].
        """
        goals = np.array(dataset.field("achieved_goal")[rows], np.float32)
        if self.model is None:
            return torch.from_numpy(goals)
        if self._key == "pixels":
            return encode_frames(self.model, dataset, rows)
        with torch.no_grad():
            return self.model.encode(
                _tensor(goal_observation(goals, size=dataset.field("observation").shape[1]))
            )

    def now(self, observations: Mapping[str, NDArray[Any]], row: int) -> Tensor:
        """Return what one episode sees now [1, D]."""
        if self.model is None:
            return _tensor(observations[self._key][[row]])
        return encode_rows(self.model, observations, [row]).flatten(1)

    def goal(self, observations: Mapping[str, NDArray[Any]], row: int) -> Tensor:
        """Return the goal of one episode [1, D']."""
        if self.model is None:
            return _tensor(observations[GOAL_KEYS[self._key]][[row]])
        return encode_goal_rows(self.model, observations, [row]).flatten(1)


def _tensor(values: NDArray[Any]) -> Tensor:
    """Frames stay uint8; states become float32."""
    return torch.from_numpy(
        np.ascontiguousarray(values if values.dtype == np.uint8 else values.astype(np.float32))
    )
