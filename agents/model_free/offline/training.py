"""Training of offline policies: one loop over hindsight goals for all methods.

A method is a short file with a ``GoalPolicy``, its networks and losses. No method uses rewards of
the data. The input is the low-dimensional state with the goal, frozen latents of a world model, or
frames, for which an encoder is trained with the policy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from jepabench.agents.encoding import Features, Table, check_inputs, open_dataset
from jepabench.agents.model_free.offline.hindsight import (
    GoalBatch,
    HindsightPairs,
    Tables,
    Windows,
)
from jepabench.agents.model_free.offline.networks import OfflineConfig, Sizes
from jepabench.agents.model_free.offline.policy import GoalPolicy
from jepabench.agents.model_free.run_folder import (
    close_run,
    open_run,
    read_run,
    record_device,
    record_inputs,
)
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.files import atomic_write
from jepabench.envs.registry import get_task
from jepabench.world_models.checkpoint import fingerprint, load_world_model, save_training_state
from jepabench.world_models.settings import make_config
from jepabench.world_models.training.batches import step_generators
from jepabench.world_models.training.tracking import ScalarLog

_LOG_EVERY = 50
_RENAMED_WEIGHTS = {"eyes.": "goal_encoder."}  # prefixes in policies that older versions saved


def train_policy(
    policy_type: type[GoalPolicy],
    *,
    task_id: str,
    dataset: Path,
    directory: Path,
    seed: int,
    world_model: Path | None = None,
    pixels: bool = False,
    device: str = "cpu",
    progress: bool = True,
    **config: Any,
) -> None:
    """Train an offline policy and write ``policy.safetensors`` and ``training.json``.

    Batches are a function of (seed, step), so an interrupted and resumed run ends with the same
    weights as an uninterrupted one.

    Args:
        policy_type: Class of the policy, which defines the method.
        task_id: Id of the task.
        dataset: Folder of the dataset.
        directory: Folder for the result and the training state.
        seed: Seed of initialisation and batches.
        world_model: Folder of a frozen model, for a policy on its latents.
        pixels: Whether to train an encoder of frames with the policy.
        device: Device on which the policy is trained, "cpu", "cuda" or "mps".
        progress: Whether to show a progress bar.
        config: Fields of ``policy_type.config_type``.

    Raises:
        ValueError: The dataset is of another task or lacks frames, a setting is out of range,
            PyTorch sees no such GPU, or the folder holds another run.
        UnknownNameError: There is no such setting or device.
    """
    data, task = open_dataset(dataset, task_id), get_task(task_id)
    features = make_features(task.id, world_model, pixels)
    settings = _make_settings(policy_type, features, config)
    run = {
        "algorithm": policy_type.name,
        "seed": seed,
        "config": asdict(settings),
        "inputs": features.inputs,
        **record_inputs(task.id, data, world_model),
        **record_device(device),
    }
    directory = Path(directory)
    if open_run(directory, run):
        return
    inputs = _load_inputs(features, world_model, data, Path(dataset))
    policy, tables = _build_policy(policy_type, settings, data, inputs, features.inputs, seed)
    pairs = HindsightPairs(data, max_steps=settings.max_goal_steps)
    policy.to(device)
    seconds = _optimise(policy, tables.to(torch.device(device)), pairs, seed, directory, progress)
    policy.cpu()
    _save_policy(policy, directory / "policy.safetensors")
    close_run(directory, run, _compute_cost(policy, data, task.action_block, seconds))
    (directory / "training.pt").unlink(missing_ok=True)


def _compute_cost(
    policy: GoalPolicy, data: EpisodeDataset, action_block: int, seconds: float
) -> dict[str, Any]:
    return {
        "sizes": list(policy.sizes),
        "train_seconds": seconds,
        "transitions": int(data.lengths.sum()) * action_block,
        "model_steps": int(data.lengths.sum()),
        "parameters": sum(parameter.numel() for parameter in policy.parameters()),
    }


def load_policy(
    directory: Path,
    kinds: Sequence[type[GoalPolicy]],
    *,
    task_id: str,
    inputs: str,
    world_model: Path | None = None,
) -> GoalPolicy:
    """Load a policy that ``train_policy`` wrote.

    Args:
        directory: Folder of the policy.
        kinds: Accepted classes of policies.
        task_id: Task on which it must have been trained.
        inputs: Kind of input on which it must have been trained.
        world_model: Folder of the model on whose latents it must have been trained, or None.

    Raises:
        ValueError: The folder holds a policy of another algorithm, task or input, or a policy on
            the latents of another model.
    """
    by_name = {kind.name: kind for kind in kinds}
    found = read_run(Path(directory))["algorithm"]
    name = found if found in by_name else next(iter(by_name))
    latents = fingerprint(world_model) if world_model else None
    content = read_run(
        Path(directory), algorithm=name, task_id=task_id, inputs=inputs, world_model=latents
    )
    policy = by_name[name](Sizes(*content["sizes"]), by_name[name].config_type(**content["config"]))
    weights = load_file(Path(directory) / "policy.safetensors")
    for old, new in _RENAMED_WEIGHTS.items():
        weights = {
            new + key.removeprefix(old) if key.startswith(old) else key: value
            for key, value in weights.items()
        }
    policy.load_state_dict(weights)
    return policy.eval().requires_grad_(False)


def make_features(task_id: str, world_model: Path | None, pixels: bool) -> Features:
    """Return the inputs of a policy: the state, the latents of a world model, or frames.

    Raises:
        ValueError: Both a world model and frames were asked for.
        CheckpointError: The world model is missing or of another task.
    """
    check_inputs(world_model, pixels)
    return Features(
        load_world_model(Path(world_model), task_id=task_id).model if world_model else None,
        pixels=pixels,
    )


def _make_settings(
    policy_type: type[GoalPolicy], features: Features, config: Mapping[str, Any]
) -> OfflineConfig:
    settings = make_config(f"setting of {policy_type.name}", policy_type.config_type, config)
    history = settings.history or (features.model.history if features.model else 1)
    if features.inputs == "pixels" and history > 1:
        raise ValueError(
            f"A policy from frames uses one frame, got history={history}. "
            "Train it on latents, or with history=1."
        )
    return replace(settings, history=history)


def _load_inputs(
    features: Features, world_model: Path | None, data: EpisodeDataset, dataset: Path
) -> tuple[Table, Table]:
    """Return all frames of the dataset as present and as goal inputs."""
    if world_model is None:
        return features.tables(data)
    weights = fingerprint(world_model)
    return _encode_latents(Path(world_model), weights, dataset, data.manifest.fingerprint)


@lru_cache(maxsize=1)  # several policies are trained on the same latents, one after another
def _encode_latents(
    world_model: Path, weights: str, dataset: Path, content: str
) -> tuple[Table, Table]:
    del weights, content  # fingerprints, which distinguish contents of the same folders
    return Features(load_world_model(world_model).model).tables(EpisodeDataset.open(dataset))


def _build_policy(
    policy_type: type[GoalPolicy],
    settings: OfflineConfig,
    data: EpisodeDataset,
    inputs: tuple[Table, Table],
    kind: str,
    seed: int,
) -> tuple[GoalPolicy, Tables]:
    """Return a new policy with the scales of the data, and the data as its inputs."""
    (now, goal), history = inputs, settings.history or 1
    action = torch.from_numpy(np.array(data.field("action"), np.float32))
    frame = now.shape[1] if kind == "pixels" else 0
    now_size, goal_size = (
        (settings.hidden_size,) * 2 if frame else (history * now.shape[1], goal.shape[1])
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        policy = policy_type(Sizes(now_size, goal_size, action.shape[1], frame), settings)
    if isinstance(now, Tensor) and isinstance(goal, Tensor):
        policy.goal_encoder.now_scale.fit(now)
        policy.goal_encoder.goal_scale.fit(goal)
        now = Windows(now, data, history)
    mean, std = (torch.as_tensor(values) for values in data.action_statistics())
    policy.action_scale.mean.copy_(mean)
    policy.action_scale.std.copy_(std)
    action = policy.action_scale(action)
    policy.action_low.copy_(action.amin(0))
    policy.action_high.copy_(action.amax(0))
    return policy, Tables(now, goal, action)


def _optimise(
    policy: GoalPolicy,
    tables: Tables,
    pairs: HindsightPairs,
    seed: int,
    directory: Path,
    progress: bool,
) -> float:
    """Minimise the losses, resuming from ``directory/training.pt``; return the total seconds."""
    config: OfflineConfig = policy.config
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate)
    path, first, seconds = directory / "training.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        policy.load_state_dict(state["policy"])
        optimizer.load_state_dict(state["optimizer"])
        first, seconds = state["step"], state["seconds"]
    curves = ScalarLog(directory, first)
    began, total = time.monotonic(), config.num_steps
    steps = range(first, total)
    bar = tqdm(steps, "train", total, unit="step", initial=first, disable=not progress)
    for step in bar:
        rng, generator = step_generators(seed, step)
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / total)
        losses = policy.losses(_draw_batch(policy, tables, pairs, rng), generator)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        policy.after_step()
        if step % _LOG_EVERY == 0:
            curves.add({f"train/{name}": value.item() for name, value in losses.items()}, step)
        if (step + 1) % config.checkpoint_every == 0:
            state = {
                "policy": policy.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
                "seconds": seconds + time.monotonic() - began,
            }
            save_training_state(path, state)
    curves.close()
    return seconds + time.monotonic() - began


def _draw_batch(
    policy: GoalPolicy, tables: Tables, pairs: HindsightPairs, rng: np.random.Generator
) -> GoalBatch:
    config = policy.config
    rows = pairs.sample(config.batch_size, rng)
    value_rows = rows[1]
    if policy.value_goals is not None:
        value_rows = pairs.draw_value_goals(
            rows[0], policy.value_goals, gamma=config.gamma, rng=rng
        )
    return GoalBatch(tables, pairs, rows, value_rows)


def _save_policy(policy: GoalPolicy, path: Path) -> None:
    weights = policy.state_dict()  # the encoder of frames is in channels-last memory
    with atomic_write(path) as partial:
        save_file({name: value.contiguous() for name, value in weights.items()}, partial)
