"""World models on disk: weights as safetensors, everything else as JSON. Files carry ids, never module paths or pickles."""

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
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from jepabench.envs.files import atomic_write, write_atomically
from jepabench.envs.registry import UnknownNameError, find_task, get_task, unknown_name
from jepabench.world_models.base import WorldModel
from jepabench.world_models.kinds.autoencoder import Autoencoder, AutoencoderConfig
from jepabench.world_models.kinds.ensemble import EnsembleConfig, EnsembleJEPA
from jepabench.world_models.kinds.frozen_patches import FrozenConfig, FrozenFeatureModel
from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
from jepabench.world_models.kinds.latent_variable import LatentVariableConfig, LatentVariableJEPA
from jepabench.world_models.kinds.recurrent import RecurrentConfig, RecurrentJEPA
from jepabench.world_models.networks.heads import Decoder
from jepabench.world_models.training.batches import ActionScale

SCHEMA = 1
MODELS: dict[str, tuple[type[nn.Module], type]] = {
    "autoencoder": (Autoencoder, AutoencoderConfig),
    "dino-wm": (FrozenFeatureModel, FrozenConfig),
    "ensemble": (EnsembleJEPA, EnsembleConfig),
    "jepa": (JEPA, JEPAConfig),
    "latent-variable": (LatentVariableJEPA, LatentVariableConfig),
    "recurrent": (RecurrentJEPA, RecurrentConfig),
}


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, of another schema, or of another task; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class LoadedWorldModel:
    """A world model ready to plan with: eval mode, no gradients into its weights.

    Attributes:
        model: the model.
        scale: units of its actions.
        decoder: paints latents, or None.
        task_id: the task it was trained on.
        metadata: everything that was saved beside the weights.
    """

    model: WorldModel
    scale: ActionScale
    decoder: Decoder | None
    task_id: str
    metadata: Mapping[str, Any]


def build_model(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """Makes an untrained model of a registered kind.

    Raises:
        UnknownNameError: no such kind.
        TypeError, ValueError: an option that the kind does not have, or a bad value.
    """
    if kind not in MODELS:
        raise unknown_name("world model", kind, MODELS)
    model_type, config_type = MODELS[kind]
    known = {field.name for field in dataclasses.fields(config_type)}
    for key in config:
        if key not in known:
            raise unknown_name(f"option of world model {kind!r}", key, known)
    return model_type(config_type(**config))


def fingerprint(directory: Path) -> str:
    """Returns a hash of the weights of a saved world model: what was learned on its latents fits no others."""
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
    """Writes a checkpoint folder; ``model.json`` comes last, so a folder without it is unfinished."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if decoder is not None:
        # Most of the file, and only looked at: the eight bits of a pixel do not need more than half precision.
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


def load_world_model(directory: Path, *, task_id: str | None = None) -> LoadedWorldModel:
    """Loads a checkpoint.

    Args:
        directory: folder that ``save_world_model`` wrote.
        task_id: the task that it is wanted for; None accepts any.

    Raises:
        CheckpointError: see there.
    """
    content = _read_description(directory)
    try:
        trained_on = find_task(content["task_id"]).id
    except UnknownNameError as error:
        raise CheckpointError(
            f"The task of the world model in {directory} is not registered. If another package defines it, "
            f"import that package first. {error}"
        ) from error
    if task_id is not None and get_task(task_id).id != trained_on:
        raise CheckpointError(
            f"The world model in {directory} was trained on {content['task_id']}, not on {task_id}. Train one for this task."
        )
    try:
        tensors = load_file(directory / "weights.safetensors")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"The weights in {directory} can not be read ({error}). The file is cut or damaged: delete the folder, train again."
        ) from error
    model = build_model(content["kind"], content["config"])
    _load_part(model, tensors, "model", directory)
    model.eval().requires_grad_(False)
    scale = ActionScale(tensors["scale.mean"], tensors["scale.std"])
    decoder = None
    if "decoder.mean_frame" in tensors:
        size = tensors["decoder.project.0.weight"].shape[1]
        decoder = Decoder(latent_dim=size, mean_frame=tensors["decoder.mean_frame"])
        _load_part(decoder, tensors, "decoder", directory)
        decoder.eval().requires_grad_(False)
    if not isinstance(model, WorldModel):
        raise CheckpointError(f"{content['kind']!r} does not implement WorldModel.")
    return LoadedWorldModel(model, scale, decoder, content["task_id"], content["metadata"])


def untrained_world_model(directory: Path, *, seed: int) -> LoadedWorldModel:
    """Returns a model of the same make as a checkpoint's, with fresh weights: what its architecture alone can do.

    Raises:
        CheckpointError: see there.
    """
    content, trained = _read_description(directory), load_world_model(directory)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        model = build_model(content["kind"], content["config"])
    model.eval().requires_grad_(False)
    if not isinstance(model, WorldModel):
        raise CheckpointError(f"{content['kind']!r} does not implement WorldModel.")
    return LoadedWorldModel(model, trained.scale, None, trained.task_id, {})


def _read_description(directory: Path) -> dict[str, Any]:
    path = directory / "model.json"
    if not path.exists():
        raise CheckpointError(
            f"No world model in {directory}: model.json is missing, so training did not finish. Run it again."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}). Delete the folder and train again."
        ) from error
    if schema != SCHEMA:
        raise CheckpointError(
            f"{path} has schema {schema}, this version reads {SCHEMA}. Train again."
        )
    return content


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


def save_training_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a resumable training state atomically."""
    with atomic_write(path) as partial:
        torch.save(dict(state), partial)
