"""Load checkpoints of LeWM that stable-worldmodel saved."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from jepabench.envs.registry import find_task
from jepabench.world_models.checkpoint import CheckpointError, save_world_model
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale

# Patterns of names in checkpoints of stable-worldmodel, and our names. Encoders have patterns for
# both transformers 5 and transformers 4.
_VIT = "model.encoder.blocks"
_BLOCK = "model.predictor.blocks"
_NAMES = (
    (r"encoder\.embeddings\.cls_token", "model.encoder.token"),
    (r"encoder\.embeddings\.position_embeddings", "model.encoder.positions"),
    (r"encoder\.embeddings\.patch_embeddings\.projection\.(\w+)", r"model.encoder.stem.\1"),
    (r"encoder\.layers\.(\d+)\.attention\.q_proj\.(\w+)", rf"{_VIT}.\1.query.\2"),
    (r"encoder\.layers\.(\d+)\.attention\.k_proj\.(\w+)", rf"{_VIT}.\1.key.\2"),
    (r"encoder\.layers\.(\d+)\.attention\.v_proj\.(\w+)", rf"{_VIT}.\1.value.\2"),
    (r"encoder\.layers\.(\d+)\.attention\.o_proj\.(\w+)", rf"{_VIT}.\1.out.\2"),
    (r"encoder\.layers\.(\d+)\.mlp\.(fc\d)\.(\w+)", rf"{_VIT}.\1.\2.\3"),
    (r"encoder\.encoder\.layer\.(\d+)\.attention\.attention\.(\w+)\.(\w+)", rf"{_VIT}.\1.\2.\3"),
    (r"encoder\.encoder\.layer\.(\d+)\.attention\.output\.dense\.(\w+)", rf"{_VIT}.\1.out.\2"),
    (r"encoder\.encoder\.layer\.(\d+)\.intermediate\.dense\.(\w+)", rf"{_VIT}.\1.fc1.\2"),
    (r"encoder\.encoder\.layer\.(\d+)\.output\.dense\.(\w+)", rf"{_VIT}.\1.fc2.\2"),
    (r"encoder\.(?:encoder\.)?layers?\.(\d+)\.layernorm_before\.(\w+)", rf"{_VIT}.\1.norm1.\2"),
    (r"encoder\.(?:encoder\.)?layers?\.(\d+)\.layernorm_after\.(\w+)", rf"{_VIT}.\1.norm2.\2"),
    (r"encoder\.layernorm\.(\w+)", r"model.encoder.norm.\1"),
    (r"projector\.net\.(.+)", r"model.encoder.projector.\1"),
    (r"pred_proj\.net\.(.+)", r"model.predictor.projector.\1"),
    (r"action_encoder\.patch_embed\.(\w+)", r"model.predictor.embed_action.0.\1"),
    (r"action_encoder\.embed\.0\.(\w+)", r"model.predictor.embed_action.1.\1"),
    (r"action_encoder\.embed\.2\.(\w+)", r"model.predictor.embed_action.3.\1"),
    (r"predictor\.pos_embedding", "model.predictor.positions"),
    (r"predictor\.transformer\.norm\.(\w+)", r"model.predictor.norm.\1"),
    (r"predictor\.transformer\.input_proj\.(\w+)", r"model.predictor.enter.\1"),
    (r"predictor\.transformer\.cond_proj\.(\w+)", r"model.predictor.enter_action.\1"),
    (r"predictor\.transformer\.output_proj\.(\w+)", r"model.predictor.leave.\1"),
    (
        r"predictor\.transformer\.layers\.(\d+)\.attn\.norm\.(\w+)",
        rf"{_BLOCK}.\1.attention_norm.\2",
    ),
    (r"predictor\.transformer\.layers\.(\d+)\.attn\.to_qkv\.weight", rf"{_BLOCK}.\1.qkv.weight"),
    (r"predictor\.transformer\.layers\.(\d+)\.attn\.to_out\.0\.(\w+)", rf"{_BLOCK}.\1.out.\2"),
    (r"predictor\.transformer\.layers\.(\d+)\.mlp\.net\.(.+)", rf"{_BLOCK}.\1.mlp.\2"),
    (
        r"predictor\.transformer\.layers\.(\d+)\.adaLN_modulation\.1\.(\w+)",
        rf"{_BLOCK}.\1.modulation.1.\2",
    ),
)
_UNUSED = re.compile(r"encoder\.(pooler\.|embeddings\.mask_token)")


def import_lewm(
    source: Path, directory: Path, *, task_id: str, scale: ActionScale | None = None
) -> None:
    """Write a LeWM checkpoint of stable-worldmodel as a world model of kind ``jepa``.

    Args:
        source: Folder with ``config.json`` and one ``.pt`` file (``save_pretrained`` of
            stable-worldmodel), or the ``.pt`` file itself.
        directory: Folder to create.
        task_id: Task that the model was trained on.
        scale: Mean and standard deviation of the actions in its training data, which the
            checkpoint does not contain. None if the actions were not normalised.

    Raises:
        CheckpointError: ``directory`` exists, or ``source`` has no LeWM of stable-worldmodel.
    """
    if directory.exists():
        raise CheckpointError(f"{directory} exists already. Choose another folder.")
    task = find_task(task_id)
    path = _find_weights(source)
    weights = _rename(_read(path), path)
    config = _describe(weights, _read_config(path.parent))
    try:
        model = build_model("jepa", config)
        model.load_state_dict({name[6:]: value for name, value in weights.items()})
    except (RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is not a LeWM of stable-worldmodel: {error}") from error
    size = config["action_size"]
    scale = scale or ActionScale(torch.zeros(size), torch.ones(size))
    if len(scale.mean) != size:
        raise CheckpointError(
            f"The model takes actions of {size} numbers, but actions of {task.id} have "
            f"{len(scale.mean)}. Was it trained on another task?"
        )
    save_world_model(
        directory,
        kind="jepa",
        model=model,
        scale=scale,
        task_id=task.id,
        metadata={"imported_from": "stable-worldmodel"},
    )


def _find_weights(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(source.glob("*.pt"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise CheckpointError(f"{source} should hold one .pt file, it has: {names}. Name the file.")
    return found[0]


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError) as error:
        raise CheckpointError(
            f"{path} cannot be read as weights. A file with a whole pickled model runs code and is "
            "refused: save its state_dict() with stable_worldmodel.wm.utils.save_pretrained."
        ) from error
    if not isinstance(weights, Mapping) or not all(map(torch.is_tensor, weights.values())):
        raise CheckpointError(f"{path} is not a state dictionary.")
    return weights


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from error
    return config if isinstance(config, dict) else {}


def _rename(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    renamed = {}
    for name, value in weights.items():
        if _UNUSED.match(name):
            continue
        found = (re.fullmatch(pattern, name) and (pattern, ours) for pattern, ours in _NAMES)
        match = next((pair for pair in found if pair), None)
        if match is None:
            raise CheckpointError(f"{path} is not a LeWM of stable-worldmodel: it holds {name!r}.")
        ours = re.sub(*match, name)
        renamed[ours] = value.squeeze(-1) if "embed_action.0.weight" in ours else value
    return renamed


def _describe(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the model, from the shapes of its weights.

    The shapes do not determine the size of an attention head. It is read from ``config.json`` and
    is 64 by default.
    """
    predictor = config.get("predictor")
    head_size = int(predictor.get("dim_head", 64)) if isinstance(predictor, dict) else 64
    try:
        stem = weights["model.encoder.stem.weight"]
        places = weights["model.encoder.positions"].shape[1] - 1
        width, inner = weights[f"{_BLOCK}.0.qkv.weight"].T.shape
        if inner // 3 % head_size:
            raise CheckpointError(
                f"The attention width {inner // 3} is not a multiple of the head size {head_size}. "
                "State predictor.dim_head in the config.json beside the weights."
            )
        channels, action_size = weights["model.predictor.embed_action.0.weight"].shape
        latent_dim, patch_size = stem.shape[0], stem.shape[-1]
        return {
            "encoder": "lewm",
            "encoder_options": {
                "depth": _count(weights, _VIT),
                "num_heads": max(1, latent_dim // 64),
                "mlp_width": weights[f"{_VIT}.0.fc1.weight"].shape[0],
                "patch_size": patch_size,
                "image_size": round(places**0.5) * patch_size,
                "out_width": weights["model.encoder.projector.0.weight"].shape[0],
            },
            "latent_dim": latent_dim,
            "action_size": action_size,
            "history": weights["model.predictor.positions"].shape[1],
            "rollout_steps": 1,
            "predictor": "lewm",
            "predictor_options": {
                "width": width,
                "depth": _count(weights, _BLOCK),
                "num_heads": inner // 3 // head_size,
                "head_size": head_size,
                "mlp_width": weights[f"{_BLOCK}.0.mlp.1.weight"].shape[0],
                "out_width": weights["model.predictor.projector.0.weight"].shape[0],
                "action_hidden": weights["model.predictor.embed_action.1.weight"].shape[0],
                "action_channels": channels,
                "dropout": float(predictor.get("dropout", 0.1)) if predictor else 0.1,
            },
            "terms": {"sigreg": {"weight": 0.09}},
        }
    except KeyError as error:
        raise CheckpointError(
            f"The checkpoint is an incomplete LeWM: {error} is missing."
        ) from error


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    return len(
        {name[len(prefix) + 1 :].partition(".")[0] for name in weights if name.startswith(prefix)}
    )
