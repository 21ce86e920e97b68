"""World models on disk: weights as safetensors, everything else as JSON.

A checkpoint may come from a stranger. Loading runs no code and imports no module that it names, and
a damaged or forged one is refused with a ``CheckpointError``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from jepabench.envs.data.files import atomic_write, write_atomically
from jepabench.envs.errors import UnknownNameError
from jepabench.envs.registry import find_task, get_task
from jepabench.world_models.base import WorldModel
from jepabench.world_models.networks.heads import Decoder
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale

SCHEMA = 1
_ENTRIES = {"schema": int, "kind": str, "task_id": str, "config": dict, "metadata": dict}


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, of another schema or of another task."""


@dataclass(frozen=True, slots=True)
class LoadedWorldModel:
    """A world model that is ready for planning: in eval mode, with frozen weights.

    Attributes:
        model: World model.
        scale: Mean and standard deviation of its actions.
        decoder: Decoder from latents to frames, or None.
        task_id: Task that the model was trained on.
        metadata: Everything else that was saved beside the weights.
    """

    model: WorldModel
    scale: ActionScale
    decoder: Decoder | None
    task_id: str
    metadata: Mapping[str, Any]


def fingerprint(directory: Path) -> str:
    """Return a hash of the weights of a saved world model.

    Heads and policies that were trained on its latents store it, since they fit no other weights.
    """
    return hashlib.sha256((Path(directory) / "weights.safetensors").read_bytes()).hexdigest()[:16]


def save_world_model(
    directory: Path,
    *,
    kind: str,
    model: nn.Module,
    scale: ActionScale,
    task_id: str,
    metadata: Mapping[str, Any],
    decoder: Decoder | None = None,
) -> None:
    """Write a checkpoint folder. ``model.json`` is written last and marks it as complete."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if decoder is not None:
        # The decoder takes most of the file and only draws pictures, so half precision is enough.
        tensors |= {f"decoder.{name}": value.half() for name, value in decoder.state_dict().items()}
    tensors |= {"scale.mean": scale.mean, "scale.std": scale.std}
    weights = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    with atomic_write(directory / "weights.safetensors") as partial:
        save_file(weights, partial)
    config = dataclasses.asdict(model.config)  # pyright: ignore[reportArgumentType, reportCallIssue]
    content = {
        "schema": SCHEMA,
        "kind": kind,
        "task_id": task_id,
        "config": config,
        "metadata": dict(metadata),
    }
    write_atomically(directory / "model.json", json.dumps(content, indent=2))


def load_world_model(directory: Path | str, *, task_id: str | None = None) -> LoadedWorldModel:
    """Load a checkpoint.

    Args:
        directory: Folder that ``save_world_model`` wrote.
        task_id: Task that the model must have been trained on; None accepts any.

    Raises:
        CheckpointError: The checkpoint is missing, damaged, or of another task or schema.
    """
    directory = Path(directory)
    content = _read_description(directory)
    try:
        trained_on = find_task(content["task_id"]).id
    except UnknownNameError as error:
        raise CheckpointError(
            f"The task of the world model in {directory} is not registered. If another package "
            f"defines it, import that package first. {error}"
        ) from error
    if task_id is not None and get_task(task_id).id != trained_on:
        raise CheckpointError(
            f"The world model in {directory} was trained on {trained_on}, not on {task_id}. "
            "Train one for this task."
        )
    tensors = _read_tensors(directory / "weights.safetensors")
    model = _build(directory, content)
    _load_part(model, tensors, "model", directory)
    model.eval().requires_grad_(False)
    return LoadedWorldModel(
        model,  # pyright: ignore[reportArgumentType]  (_build checks it)
        _load_scale(tensors, model.action_size, directory),  # pyright: ignore[reportArgumentType]
        _load_decoder(tensors, directory),
        trained_on,
        content["metadata"],
    )


def build_untrained(directory: Path, *, seed: int) -> LoadedWorldModel:
    """Build a model with the configuration of a checkpoint and fresh weights, as a control.

    Raises:
        CheckpointError: See ``load_world_model``.
    """
    content, trained = _read_description(directory), load_world_model(directory)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        model = _build(directory, content)
    model.eval().requires_grad_(False)
    return LoadedWorldModel(model, trained.scale, None, trained.task_id, {})  # pyright: ignore[reportArgumentType]


def save_training_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a resumable training state atomically."""
    with atomic_write(path) as partial:
        torch.save(dict(state), partial)


def _read_description(directory: Path) -> dict[str, Any]:
    path = directory / "model.json"
    if not path.exists():
        raise CheckpointError(
            f"No world model in {directory}: model.json is missing, so training did not finish. "
            "Run the training again to resume it."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_make_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}). Delete the folder and train again."
        ) from error
    for name, kind in _ENTRIES.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), kind):
            raise CheckpointError(
                f"{path} describes no world model: entry {name!r} is missing or no "
                f"{kind.__name__}. Delete the folder and train again."
            )
    if content["schema"] != SCHEMA:
        raise CheckpointError(
            f"{path} has schema {content['schema']}, this version reads {SCHEMA}. Train again."
        )
    return content


def _make_unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the dictionary of a JSON object; refuse repeated keys."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {repeated!r} appears twice")
    return content


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; refuse repeated keys and numbers that are not finite."""
    try:
        data = path.read_bytes()
        tensors = load(data)
        json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], object_pairs_hook=_make_unique)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"The weights in {path.parent} cannot be read ({error}). The file is cut or damaged. "
            "Delete the folder and train again."
        ) from error
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(
                f"The weights in {path.parent} are damaged: {name!r} holds NaN or infinite "
                "numbers. Delete the folder and train again."
            )
    return tensors


def _build(directory: Path, content: Mapping[str, Any]) -> nn.Module:
    try:
        model = build_model(content["kind"], content["config"])
    except UnknownNameError as error:
        raise CheckpointError(
            f"{directory / 'model.json'} cannot be used here. {error} "
            "If another package defines it, install that package."
        ) from error
    except (TypeError, ArithmeticError, RuntimeError, AttributeError, LookupError) as error:
        raise CheckpointError(
            f"{directory / 'model.json'} describes no valid {content['kind']!r} model: {error}"
        ) from error
    if not isinstance(model, WorldModel):
        raise CheckpointError(f"Kind {content['kind']!r} does not implement WorldModel.")
    return model


def _load_scale(tensors: Mapping[str, Tensor], action_size: int, directory: Path) -> ActionScale:
    mean, std = (tensors.get(f"scale.{name}") for name in ("mean", "std"))
    if mean is None or std is None or not mean.shape == std.shape == (action_size,):
        raise CheckpointError(
            f"The weights in {directory} have no action scale for {action_size} numbers."
        )
    if not (std > 0).all():
        raise CheckpointError(f"The action scale in {directory} has entries that are not positive.")
    return ActionScale(mean, std)


def _load_decoder(tensors: Mapping[str, Tensor], directory: Path) -> Decoder | None:
    mean_frame, project = (
        tensors.get(f"decoder.{name}") for name in ("mean_frame", "project.0.weight")
    )
    if mean_frame is None or project is None or mean_frame.ndim != 3 or project.ndim != 2:
        return None
    decoder = Decoder(latent_dim=project.shape[1], mean_frame=mean_frame)
    _load_part(decoder, tensors, "decoder", directory)
    return decoder.eval().requires_grad_(False)


def _load_part(
    module: nn.Module, tensors: Mapping[str, Tensor], prefix: str, directory: Path
) -> None:
    part = {
        name[len(prefix) + 1 :]: value
        for name, value in tensors.items()
        if name.startswith(f"{prefix}.")
    }
    try:
        module.load_state_dict(part)
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in {directory} do not fit its model.json: {error}"
        ) from error
