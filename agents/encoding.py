"""Encoding of observations and goals into latents, for all agents that act on latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task
from jepabench.world_models.analysis.diagnostics import encode_frames
from jepabench.world_models.base import WorldModel

GOAL_KEYS = {"pixels": "goal_pixels", "observation": "desired_goal"}


def find_device(model: WorldModel) -> torch.device:
    """Return the device of a model's weights, or the CPU if the model has none."""
    if isinstance(model, nn.Module):
        for value in chain(model.parameters(), model.buffers()):
            return value.device
    return torch.device("cpu")


def observation_keys(model: WorldModel) -> tuple[str, str]:
    """Return the keys of the observation and of the goal that a model encodes.

    Raises:
        UnknownNameError: The model encodes another observation.
    """
    if model.observation_key not in GOAL_KEYS:
        raise unknown_name("observation_key of a world model", model.observation_key, GOAL_KEYS)
    return model.observation_key, GOAL_KEYS[model.observation_key]


@torch.no_grad()
def encode_rows(
    model: WorldModel, observations: Mapping[str, NDArray[Any]], rows: Sequence[int]
) -> Tensor:
    """Return the latents [N, *latent] of the present observations of N = len(rows) episodes."""
    key, _ = observation_keys(model)
    return model.encode(_tensor(observations[key][list(rows)]).to(find_device(model)))


@torch.no_grad()
def encode_goal_rows(
    model: WorldModel, observations: Mapping[str, NDArray[Any]], rows: Sequence[int]
) -> Tensor:
    """Return the latents [N, *latent] of the goals of N = len(rows) episodes.

    A model from pixels encodes the goal image. A model of the true state (the state twin) encodes
    ``goal_observation``. Compare such latents only in the entries of the goal
    (``GoalDistance.dims``).
    """
    key, goal_key = observation_keys(model)
    goals = observations[goal_key][list(rows)]
    if key == "observation":
        goals = goal_observation(goals, size=observations[key].shape[1])
    return model.encode(_tensor(goals).to(find_device(model)))


def goal_observation(goals: NDArray[Any], *, size: int) -> NDArray[np.float64]:
    """Return observations [N, size] of states at rest at goals [N, G].

    Observations of every task start with the goal. The other entries are 0.
    """
    return np.concatenate([goals, np.zeros((len(goals), size - goals.shape[1]))], axis=1)


def check_inputs(world_model: Path | None, pixels: bool) -> None:
    """Check that a policy uses the latents of a world model or frames, not both.

    Raises:
        ValueError: Both are given.
    """
    if world_model and pixels:
        raise ValueError(
            "A policy uses either the latents of a world model or frames: leave out pixels."
        )


def open_dataset(path: Path, task_id: str) -> EpisodeDataset:
    """Open a dataset of a task.

    Raises:
        ValueError: The dataset is of another task.
    """
    data = EpisodeDataset.open(Path(path))
    if data.manifest.task_id != get_task(task_id).id:
        raise ValueError(
            f"The dataset {path} is of {data.manifest.task_id!r}, not of {task_id!r}. Collect one."
        )
    return data


class Table(Protocol):
    """All frames of a dataset as one kind of input, indexed by row numbers int64 [N]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all frames [num_frames, ...]."""
        ...

    def to(self, device: torch.device, /) -> Table:
        """Return the table with its frames on a device."""
        ...

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Return the frames in these rows [N, ...]."""
        ...


class FrameTable:
    """The frames of a dataset, read from disk on access.

    Args:
        field: Memory-mapped frames uint8 [num_frames, size, size, 3].
    """

    def __init__(self, field: NDArray[np.uint8]) -> None:
        self._field, self._device = np.asarray(field), torch.device("cpu")
        self.shape: tuple[int, ...] = field.shape

    def to(self, device: torch.device, /) -> FrameTable:
        """Move frames to a device after they are read."""
        self._device = device
        return self

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        frames = torch.from_numpy(np.take(self._field, rows.numpy(), axis=0))
        return frames.to(self._device, non_blocking=True)


class Features:
    """The input of a policy: low-dimensional states, frozen latents of a world model, or frames.

    Args:
        model: World model for latents, or None.
        pixels: Whether to use frames instead of states, if there is no model.

    Attributes:
        inputs: Kind of input, "state", "latents" or "pixels".
        observation_keys: Keys of the observation that the agent reads.
    """

    def __init__(self, model: WorldModel | None, *, pixels: bool = False) -> None:
        self.model = model
        self.inputs = "latents" if model else "pixels" if pixels else "state"
        self._key = model.observation_key if model else "pixels" if pixels else "observation"
        self.observation_keys = (self._key, GOAL_KEYS[self._key])
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> Features:
        """Move the model, and return the inputs of ``now`` and ``goal`` on a device."""
        if isinstance(self.model, nn.Module):
            self.model.to(device)
        self.device = device
        return self

    def tables(self, dataset: EpisodeDataset) -> tuple[Table, Table]:
        """Return the inputs of all frames as observation [N, D] and as goal [N, D'].

        Latents are encoded once. Frames stay on disk.

        Raises:
            UnknownNameError: The dataset lacks frames, which are needed.
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
        """Return the goals reached in these rows, as states [N, D'] or latents [N, *latent]."""
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
        """Return the present input of one episode [1, D]."""
        if self.model is None:
            return _tensor(observations[self._key][[row]]).to(self.device)
        return encode_rows(self.model, observations, [row]).flatten(1)

    def goal(self, observations: Mapping[str, NDArray[Any]], row: int) -> Tensor:
        """Return the goal of one episode [1, D']."""
        if self.model is None:
            return _tensor(observations[GOAL_KEYS[self._key]][[row]]).to(self.device)
        return encode_goal_rows(self.model, observations, [row]).flatten(1)


def _tensor(values: NDArray[Any]) -> Tensor:
    """Return uint8 frames unchanged and states as float32."""
    return torch.from_numpy(
        np.ascontiguousarray(values if values.dtype == np.uint8 else values.astype(np.float32))
    )
