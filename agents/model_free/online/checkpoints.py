"""Checkpoints of an online run, from which it resumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

_MOMENTS = ("mean", "var", "count")


def _get_moments(env: VecNormalize) -> dict[str, Any]:
    """Return the running moments of inputs and returns, by name."""
    seen = env.obs_rms if env.norm_obs else {}
    return {**seen, "return": env.ret_rms}  # pyright: ignore[reportGeneralTypeIssues]


def save_moments(env: VecNormalize, path: Path) -> None:
    """Write the running moments of inputs and returns as ``{input}_{moment}`` arrays."""
    arrays = {
        f"{key}_{name}": getattr(moments, name)
        for key, moments in _get_moments(env).items()
        for name in _MOMENTS
    }
    np.savez(path, **arrays)


def save_checkpoint(
    model: BaseAlgorithm, env: VecNormalize, directory: Path, seconds: float
) -> None:
    """Write a complete checkpoint folder, then remove the older ones."""
    partial = directory / "partial-checkpoint"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    model.save(
        partial / "model.zip", exclude=["_last_obs", "_last_original_obs", "_last_episode_starts"]
    )
    save_moments(env, partial / "normalisation.npz")
    if isinstance(model, OffPolicyAlgorithm):
        model.save_replay_buffer(partial / "replay_buffer.pkl")
    (partial / "progress.json").write_text(json.dumps({"train_seconds": seconds}), encoding="utf-8")
    final = directory / f"checkpoint-{model.num_timesteps:012d}"
    partial.replace(final)
    for older in directory.glob("checkpoint-*"):
        if older != final:
            shutil.rmtree(older)


def load_checkpoint(
    model: BaseAlgorithm, env: VecNormalize, directory: Path
) -> tuple[BaseAlgorithm, float]:
    """Load the newest checkpoint.

    Returns:
        The loaded model and its training time in seconds, or ``model`` and 0 if there is no
        checkpoint.
    """
    checkpoints = sorted(directory.glob("checkpoint-*"))
    if not checkpoints:
        return model, 0.0
    newest = checkpoints[-1]
    model = type(model).load(newest / "model.zip", env=env, device=model.device)
    if isinstance(model, OffPolicyAlgorithm):
        model.load_replay_buffer(newest / "replay_buffer.pkl")
    with np.load(newest / "normalisation.npz") as saved:
        for key, moments in _get_moments(env).items():
            for name in _MOMENTS:
                setattr(moments, name, saved[f"{key}_{name}"][()])
    progress = json.loads((newest / "progress.json").read_text(encoding="utf-8"))
    return model, progress["train_seconds"]
