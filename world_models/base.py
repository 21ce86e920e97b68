"""The world model interface: encode a frame, predict the next latent, compute losses.

Shape letters: B problems or samples, S candidate plans, H horizon in model steps, K frames of
history, T time, A action size of a model step, D latent size. A latent is [..., D] (vector) or
[..., P, D] (P positions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TrajectoryBatch:
    """Windows of a dataset as tensors.

    Attributes:
        observations: Observations by key, ``pixels`` uint8 [B, T, size, size, 3] or
            ``observation`` float32 [B, T, O].
        actions: Normalised actions [B, T-1, A] of the model steps. Action t leads from frame t to
            frame t+1.
        state: True low-dimensional state [B, T, O]. It is meant for probes; only state twins may
            train on it.
    """

    observations: Mapping[str, Tensor]
    actions: Tensor
    state: Tensor


@dataclass(frozen=True, slots=True)
class Context:
    """The last K latents before planning starts, and the K-1 actions between them.

    Attributes:
        latents: Latents [B, K, *latent], oldest first.
        actions: Normalised actions [B, K-1, A] of the model steps.
    """

    latents: Tensor
    actions: Tensor


@runtime_checkable
class WorldModel(Protocol):
    """A learned model of a world.

    Actions are those of model steps, in normalised units (mean 0, std 1 over the data).
    """

    observation_key: str  # the encoded observation, "pixels" or "observation"
    history: int  # number K of context frames that predict() can use
    action_size: int
    window: int  # number of frames in a training window

    def encode(self, observation: Tensor) -> Tensor:
        """Encode observations [N, ...] (uint8 frames or states) into latents [N, *latent]."""
        ...

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict the next latent [N, *latent].

        Args:
            latents: Latest latents [N, k, *latent], k <= K.
            actions: Actions [N, k, A]. The last one leads from the last latent to the next.
        """
        ...

    def losses(self, batch: TrajectoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return weighted, named loss terms (scalars); training minimises their sum."""
        ...


@runtime_checkable
class CustomRollout(Protocol):
    """A world model with its own rollout, for instance because it has a memory."""

    def imagine(self, context: Context, actions: Tensor) -> Tensor:
        """Imagine the futures of candidate plans; see ``rollout``."""
        ...


@runtime_checkable
class FastRollout(Protocol):
    """A world model that can imagine several steps faster than one by one."""

    def unroll(self, latents: Tensor, actions: Tensor) -> Tensor | None:
        """Imagine from latents [N, k, *latent], k <= K, under actions [N, k - 1 + H, A].

        Returns:
            Latents [N, H, *latent], equal to those of H calls of ``predict`` up to rounding. None
            if the model has no faster way than these calls.
        """
        ...


@runtime_checkable
class FastPredictor(Protocol):
    """A predictor that can predict several steps faster than one by one."""

    def unroll(
        self, latents: Tensor, actions: Tensor, *, place: Callable[[Tensor], Tensor] | None
    ) -> Tensor | None:
        """Predict as ``FastRollout``; ``place`` is applied to each latent that is predicted."""
        ...


@runtime_checkable
class TrainsOnField(Protocol):
    """A module that trains on a field of the dataset other than its ``observation_key``."""

    training_key: str


def rollout(model: WorldModel, context: Context, actions: Tensor) -> Tensor:
    """Imagine the futures of candidate plans.

    Args:
        model: World model.
        context: Context of B problems.
        actions: Actions of the candidates [B, S, H, A].

    Returns:
        Predicted latents [B, S, H, *latent]. Entry h is the latent after action h. They are
        differentiable with respect to ``actions``.
    """
    if implements(type(model), CustomRollout):
        return cast(CustomRollout, model).imagine(context, actions)
    unroll = cast(FastRollout, model).unroll if implements(type(model), FastRollout) else None
    return rollout_with(model.predict, model.history, context, actions, unroll=unroll)


@lru_cache(maxsize=128)
def implements(kind: type, protocol: type) -> bool:
    """Return whether a class has the methods of a protocol.

    Checking an instance takes longer than a step of a small model.
    """
    return issubclass(kind, protocol)


def rollout_with(
    predict: Callable[[Tensor, Tensor], Tensor],
    history: int,
    context: Context,
    actions: Tensor,
    *,
    unroll: Callable[[Tensor, Tensor], Tensor | None] | None = None,
) -> Tensor:
    """Imagine futures with a function that predicts the next latent from a short history.

    ``unroll`` is an optional faster way to compute the same latents; see ``FastRollout``.
    """
    num_problems, num_samples, horizon, action_size = actions.shape
    known = min(history, context.latents.shape[1])
    latents = context.latents[:, -known:]
    past = context.actions[:, context.actions.shape[1] + 1 - known :]
    latent_shape = latents.shape[2:]
    latents = latents[:, None].expand(-1, num_samples, *latents.shape[1:])
    latents = latents.reshape(num_problems * num_samples, known, *latent_shape)
    past = past[:, None].expand(-1, num_samples, -1, -1)
    past = past.reshape(num_problems * num_samples, known - 1, action_size)
    future = actions.reshape(num_problems * num_samples, horizon, action_size)
    all_actions = torch.cat([past, future], dim=1)
    if unroll is not None and (found := unroll(latents, all_actions)) is not None:
        return found.reshape(num_problems, num_samples, horizon, *latent_shape)
    window = list(latents.unbind(1))
    for step in range(horizon):
        last = known + step
        first = max(0, last - history)
        window.append(predict(torch.stack(window[first:last], dim=1), all_actions[:, first:last]))
    imagined = torch.stack(window[known:], dim=1)
    return imagined.reshape(num_problems, num_samples, horizon, *latent_shape)
