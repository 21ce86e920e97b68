"""Observations into the latents of a world model, for every agent that acts on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.episodes import EpisodeDataset
from envs.registry import unknown_name
from world_models.base import WorldModel
from world_models.diagnostics import encode_frames

GOAL_KEYS = {"pixels": "goal_pixels", "observation": "desired_goal"}


def observation_keys(model: WorldModel) -> tuple[str, str]:
    """Returns the keys that an agent with this model looks at: what is seen now, and the goal.

    Raises:
        UnknownNameError: the model encodes something else.
    """
    if model.observation_key not in GOAL_KEYS:
        raise unknown_name("observation_key of a world model", model.observation_key, GOAL_KEYS)
    return model.observation_key, GOAL_KEYS[model.observation_key]


@torch.no_grad()
def encode_rows(model: WorldModel, observations: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> Tensor:
    """Returns the latents [N, *latent] of what N = len(rows) episodes see now."""
    key, _ = observation_keys(model)
    return model.encode(_tensor(observations[key][list(rows)]))


@torch.no_grad()
def encode_goal_rows(model: WorldModel, observations: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> Tensor:
    """Returns the latents [N, *latent] of the goals of N = len(rows) episodes.

    A model of pixels encodes the goal image. A model of the true state (the state twin) encodes ``goal_observation``;
    compare such latents in the goal's entries only (``GoalDistance.dims``).
    """
    key, goal_key = observation_keys(model)
    goals = observations[goal_key][list(rows)]
    if key == "observation":
        goals = goal_observation(goals, size=observations[key].shape[1])
    return model.encode(_tensor(goals))


def goal_observation(goals: NDArray[Any], *, size: int) -> NDArray[np.float64]:
    """Returns observations [N, size] at goals [N, G]: the goal first, where every task puts it, then 0 (at rest)."""
    return np.concatenate([goals, np.zeros((len(goals), size - goals.shape[1]))], axis=1)


class Features:
    """What a policy sees of now and of the goal: the low-dimensional state, or the frozen latents of a world model.

    Args:
        model: a world model, or None for the state.
    """

    def __init__(self, model: WorldModel | None) -> None:
        self.model = model
        self._key = model.observation_key if model else "observation"
        self.observation_keys = (self._key, GOAL_KEYS[self._key])

    def tables(self, dataset: EpisodeDataset) -> tuple[Tensor, Tensor]:
        """Returns all frames of a dataset as present [N, D] and as goal [N, D']; everything is encoded once."""
        goals = np.array(dataset.field("achieved_goal"), np.float32)
        if self.model is None:
            return torch.from_numpy(np.array(dataset.field("observation"), np.float32)), torch.from_numpy(goals)
        latents = encode_frames(self.model, dataset, np.arange(len(goals))).flatten(1).clone()
        if self._key == "pixels":
            return latents, latents
        rest = goal_observation(goals, size=dataset.field("observation").shape[1]).astype(np.float32)
        with torch.no_grad():
            return latents, self.model.encode(torch.from_numpy(rest)).flatten(1)

    def now(self, observations: Mapping[str, NDArray[Any]], row: int) -> Tensor:
        """Returns what one episode sees now [1, D]."""
        if self.model is None:
            return torch.from_numpy(observations["observation"][[row]].astype(np.float32))
        return encode_rows(self.model, observations, [row]).flatten(1)

    def goal(self, observations: Mapping[str, NDArray[Any]], row: int) -> Tensor:
        """Returns the goal of one episode [1, D']."""
        if self.model is None:
            return torch.from_numpy(observations["desired_goal"][[row]].astype(np.float32))
        return encode_goal_rows(self.model, observations, [row]).flatten(1)


def _tensor(values: NDArray[Any]) -> Tensor:
    """Frames stay uint8; states become float32."""
    return torch.from_numpy(np.ascontiguousarray(values if values.dtype == np.uint8 else values.astype(np.float32)))
