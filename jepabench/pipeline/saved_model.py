"""Build and evaluate an agent from a saved world model, without a suite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jepabench.envs.splits import episode_specs
from jepabench.pipeline.checkpoints import REFERENCES, find_checkpoint, reference_tasks
from jepabench.pipeline.config import ConfigError, load_agent, options
from jepabench.pipeline.schema import AgentPreset
from jepabench.pipeline.stage_work import build

if TYPE_CHECKING:
    from jepabench.agents.base import Agent


def agent_preset(checkpoint: Path, name: str | None, overrides: Sequence[str] = ()) -> AgentPreset:
    """Return the preset that plans with a checkpoint.

    It is the preset ``name``. By default, it is the preset whose trained parts are stored in the
    checkpoint. If there is none, it is the default preset for the observations of the model.

    Raises:
        ConfigError: The preset has no world model, or its trained parts are not in a folder of the
            preset's name inside the checkpoint.
    """
    from jepabench.world_models.checkpoint import load_world_model

    loaded = load_world_model(checkpoint)
    name = name or _find_trained_agent(checkpoint) or default_agent(loaded.model.observation_key)
    preset = load_agent(name, overrides)
    if not preset.world_model or (preset.train and not (checkpoint / preset.name).is_dir()):
        raise ConfigError(
            f"Agent {preset.name!r} needs more than a world model, and there is no trained policy "
            f"in {checkpoint / preset.name}. Choose an agent that needs only a world model, such "
            "as jepa-cem, or run it in a suite: `jepabench run agent=...`."
        )
    return preset


def default_agent(observation_key: str) -> str:
    """Return the preset that plans with any world model of these observations, without training."""
    return "jepa-cem" if observation_key == "pixels" else "state-cem"


def _find_trained_agent(checkpoint: Path) -> str | None:
    """Return the preset whose trained parts a checkpoint contains, if there is exactly one."""
    names = {folder.name for folder in checkpoint.iterdir() if folder.is_dir()}
    found = sorted(names & set(options("agent")))
    return found[0] if len(found) == 1 else None


def build_agent(preset: AgentPreset, checkpoint: Path, task_id: str) -> Agent:
    """Return the agent of a preset that plans with a checkpoint.

    Trained parts of the preset are read from a folder of its name inside the checkpoint.
    """
    from jepabench.agents.artifacts import artifact_folders

    trained = checkpoint / preset.name
    folders = artifact_folders(preset.as_config(), trained) if preset.train else {}
    return build(preset.agent, task_id=task_id, world_model=checkpoint, **folders)


def make_agent_of_task(
    name: str | None,
    task_id: str | None,
    world_model: str | Path | None,
    overrides: Sequence[str] = (),
) -> Agent:
    """Return the agent of a preset, with a given world model or the reference one of the task.

    Raises:
        ConfigError: Neither a task nor a world model is given, the preset must be trained first, or
            there is no world model for the task.
        UnknownNameError: There is no such preset, setting or checkpoint.
    """
    if world_model is None and task_id is None:
        raise ConfigError("Name the task of the agent, such as 'TwoRoom', or its world model.")
    if world_model is None and name is not None:
        preset = load_agent(name, overrides)
        if not preset.world_model:
            return _build_without_model(preset, str(task_id))
    folder = find_checkpoint(str(world_model or _find_reference(str(task_id))))
    trained_on = read_task_id(folder)
    if task_id not in (None, trained_on):
        raise ConfigError(
            f"World model {str(world_model)!r} was trained on {trained_on}, not on {task_id}."
        )
    return build_agent(agent_preset(folder, name, overrides), folder, trained_on)


def _build_without_model(preset: AgentPreset, task_id: str) -> Agent:
    if preset.train:
        raise ConfigError(
            f"Agent {preset.name!r} must be trained first. Evaluate it on a suite: "
            f"jepabench.evaluate({preset.name!r}, suite='quick')."
        )
    return build(preset.agent, task_id=task_id)


def _find_reference(task_id: str) -> Path:
    """Return the reference checkpoint of a task.

    Raises:
        ConfigError: There is no reference checkpoint of the task.
    """
    tasks = reference_tasks()
    found = [name for name, trained_on in tasks.items() if trained_on == task_id]
    if not found:
        raise ConfigError(
            f"There is no reference world model for {task_id}. The existing ones are "
            f"{', '.join(f'{name} ({task})' for name, task in tasks.items())}. Train one and pass "
            "its folder as world_model."
        )
    return REFERENCES / found[0]


def read_task_id(checkpoint: Path) -> str:
    """Return the id of the task on which a checkpoint was trained."""
    from jepabench.world_models.checkpoint import load_world_model

    return load_world_model(checkpoint).task_id


def evaluate_checkpoint(
    checkpoint: Path,
    preset: AgentPreset,
    *,
    strata: Sequence[str],
    num_episodes: int,
    split: str,
    pixels: int,
    directory: Path,
) -> None:
    """Evaluate a checkpoint's agent on its task; write records and actions to ``directory``."""
    from tqdm import tqdm

    from jepabench.evaluation.rollout import evaluate_episodes
    from jepabench.evaluation.traces import save_evaluation

    task_id = read_task_id(checkpoint)
    specs = episode_specs(task_id, split, num_episodes, strata=tuple(strata) or None)
    agent = build_agent(preset, checkpoint, task_id)
    seed = int(
        json.loads((checkpoint / "model.json").read_text(encoding="utf-8"))["metadata"].get(
            "seed", 0
        )
    )
    with tqdm(total=len(specs), desc=preset.name, unit="episode", leave=False) as bar:
        evaluation = evaluate_episodes(
            agent,
            specs,
            agent_name=preset.name,
            training_seed=seed,
            pixels=pixels,
            progress=bar.update,
        )
    save_evaluation(directory, evaluation)
