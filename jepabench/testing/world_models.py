"""The contract of world models (``jepabench.world_models.base.WorldModel``)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jepabench.testing.contract import ContractError, require
from jepabench.world_models.base import Context, TrajectoryBatch, WorldModel, rollout
from jepabench.world_models.registry import build_model, find_kind

_NUM_WINDOWS = 6


def check_world_model(
    kind: str,
    config: Mapping[str, Any],
    *,
    pixels: int = 64,
    state_size: int = 4,
) -> None:
    """Check that a kind of world model keeps its contract.

    Args:
        kind: Name of a kind that is registered or declared by an installed package.
        config: Options of the kind, with ``action_size``.
        pixels: Side of the frames, for a model of frames.
        state_size: Size of the state, for a model of states.

    Raises:
        ContractError: A member is missing, a shape or type is wrong, losses are not finite or
            depend on the global random state, a parameter is never trained, a latent depends on
            the rest of the batch, or the model cannot be rebuilt from its configuration.
        UnknownNameError: There is no such kind or option.
    """
    model = _build(kind, config)
    batch = _make_batch(model, pixels, state_size)
    _check_latents(model, batch)
    _check_losses(model, batch)
    _check_imagination(model, batch)
    _check_rebuilding(kind, model, batch)


def _build(kind: str, config: Mapping[str, Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = build_model(kind, config)
    members = ("encode", "predict", "losses", "observation_key", "history", "action_size", "window")
    missing = [name for name in members if not hasattr(model, name)]
    require(not missing, f"World model kind {kind!r} lacks {', '.join(missing)}.")
    keeps_protocol: bool = isinstance(model, WorldModel)
    require(keeps_protocol, f"{type(model).__name__} is not a WorldModel.")
    require(
        dataclasses.is_dataclass(getattr(model, "config", None)),
        "A world model must keep its configuration, a dataclass, as `config`.",
    )
    require(
        model.observation_key in ("pixels", "observation"),
        f"observation_key must be 'pixels' or 'observation', got {model.observation_key!r}.",
    )
    require(
        int(model.window) > int(model.history) >= 1,
        "A training window must have more frames than the history, and the history at least one; "
        f"got window {model.window} and history {model.history}.",
    )
    return model


def _make_batch(model: Any, pixels: int, state_size: int) -> TrajectoryBatch:
    draw = torch.Generator().manual_seed(0)
    size = (_NUM_WINDOWS, model.window)
    state = torch.randn(*size, state_size, generator=draw)
    actions = torch.randn(_NUM_WINDOWS, model.window - 1, model.action_size, generator=draw)
    if model.observation_key == "pixels":
        shape = (*size, pixels, pixels, 3)
        frames = torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)
        return TrajectoryBatch({"pixels": frames}, actions, state)
    return TrajectoryBatch({"observation": state}, actions, state)


def _check_latents(model: Any, batch: TrajectoryBatch) -> None:
    model.eval()
    frames = batch.observations[model.observation_key]
    flat = frames.flatten(0, 1)
    with torch.no_grad():
        latents = model.encode(flat)
        alone = model.encode(flat[:1])
    require(
        latents.ndim >= 2 and len(latents) == len(flat) and latents.dtype == torch.float32,
        "encode() must return float32 latents [N, D] or [N, P, D], got "
        f"{latents.dtype} {tuple(latents.shape)} for N = {len(flat)}.",
    )
    require(bool(latents.isfinite().all()), "encode() must return finite latents.")
    require(
        torch.allclose(alone[0], latents[0], atol=1e-4, rtol=1e-3),
        "The latent of a frame must not depend on the other frames of a batch in evaluation mode.",
    )
    known = latents.unflatten(0, frames.shape[:2])
    for length in range(1, model.history + 1):
        actions = batch.actions[:, :1].expand(-1, length, -1)
        with torch.no_grad():
            following = model.predict(known[:, :length], actions)
        require(
            following.shape == known[:, 0].shape and bool(following.isfinite().all()),
            f"predict() must return finite latents {tuple(known[:, 0].shape)} from {length} "
            f"latents, got {tuple(following.shape)}.",
        )


def _check_losses(model: Any, batch: TrajectoryBatch) -> None:
    model.train()
    random = torch.random.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    terms = _losses(model, batch)
    require(
        torch.equal(random, torch.random.get_rng_state()),
        "losses() must draw from the generator that it is given, not from the global one.",
    )
    for name, term in terms.items():
        require(
            isinstance(term, Tensor) and term.ndim == 0 and bool(term.isfinite()),
            f"The loss {name!r} must be a finite scalar tensor, got {term}.",
        )
    _check_gradients(model, torch.stack(list(terms.values())).sum())
    model.load_state_dict(weights)  # running statistics, too
    for name, term in _losses(model, batch).items():
        require(
            torch.allclose(term, terms[name], rtol=1e-4),
            f"The loss {name!r} must be the same for the same batch and generator; "
            f"got {terms[name].item()} and {term.item()}.",
        )


def _check_gradients(model: Any, total: Tensor) -> None:
    require(total.requires_grad, "The sum of the losses must have a gradient.")
    total.backward()
    unused = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    require(not unused, f"No loss depends on the parameters {', '.join(unused)}.")
    model.zero_grad()


def _losses(model: Any, batch: TrajectoryBatch) -> dict[str, Tensor]:
    terms = model.losses(batch, torch.Generator().manual_seed(0))
    require(
        isinstance(terms, dict) and bool(terms),
        f"losses() must return a dictionary of named terms, got {type(terms).__name__}.",
    )
    return terms


def _check_imagination(model: Any, batch: TrajectoryBatch) -> None:
    model.eval()
    frames = batch.observations[model.observation_key][:, : model.history]
    with torch.no_grad():
        latents = model.encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        actions = torch.randn(
            _NUM_WINDOWS, 3, 4, model.action_size, generator=torch.Generator().manual_seed(1)
        )
        past = batch.actions[:, : model.history - 1]
        imagined = rollout(model, Context(latents, past), actions)
        alone = rollout(model, Context(latents[2:3], past[2:3]), actions[2:3, 1:2])
    shape = (_NUM_WINDOWS, 3, 4, *latents.shape[2:])
    require(
        imagined.shape == shape,
        f"Imagined latents must have the shape [B, S, H, *latent] = {shape}, "
        f"got {tuple(imagined.shape)}.",
    )
    require(
        torch.allclose(alone[0, 0], imagined[2, 1], atol=1e-4, rtol=1e-3),
        "What a model imagines for one plan must not depend on the other plans.",
    )


def _check_rebuilding(kind: str, model: Any, batch: TrajectoryBatch) -> None:
    try:
        saved = json.loads(json.dumps(dataclasses.asdict(model.config)))
    except TypeError as error:
        raise ContractError(f"The configuration cannot be saved as JSON: {error}.") from error
    copy: nn.Module = find_kind(kind)(find_kind(kind).config_class(**saved))  # pyright: ignore[reportAttributeAccessIssue]
    copy.load_state_dict(model.state_dict())
    copy.eval()
    model.eval()
    frames = batch.observations[model.observation_key][:, 0]
    with torch.no_grad():
        same = torch.equal(copy.encode(frames), model.encode(frames))  # pyright: ignore[reportCallIssue]
    require(same, "A model rebuilt from its configuration and weights must encode the same.")
