"""The work of each kind of stage. The last argument of a function is the folder of the result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from jepabench.envs.splits import episode_specs
from jepabench.pipeline.schema import AgentPreset
from jepabench.world_models.training.tracking import track

_UNTRAINED = 3  # number of untrained networks for comparison


def build(settings: Mapping[str, Any], **arguments: Any) -> Any:
    """Return the object that the ``_target_`` of settings creates.

    Raises:
        Exception: The error that the target raised, without Hydra's description of the call.
    """
    try:
        return instantiate(settings, **arguments, _convert_="all")
    except InstantiationException as error:
        raise error.__cause__ or error from None


def collect_dataset(config: Mapping[str, Any], directory: Path) -> None:
    """Collect the dataset of a task into ``directory / "dataset"``."""
    from jepabench.envs.data.collect import collect

    collect(
        config["task_id"],
        directory / "dataset",
        num_workers=1,
        **{k: v for k, v in config.items() if k != "task_id"},
    )


def fit_world_model(
    preset: Mapping[str, Any], dataset: Path, validation: Path, seed: int, directory: Path
) -> None:
    """Train the world model of a preset on a dataset."""
    from jepabench.world_models.training.fit import fit

    fit(
        dataset=dataset,
        validation=validation,
        directory=directory,
        seed=seed,
        kind=preset["kind"],
        model=preset["model"],
        training=preset["training"],
    )


def train_tracked(
    tracker: str,
    output: Path,
    run: str,
    settings: Mapping[str, Any],
    work: Callable[[Path], None],
    directory: Path,
) -> None:
    """Run a training stage and report its curves to a tracker."""
    folder = output / "tracking"
    with track(tracker, folder=folder, run=run, directory=directory, settings=settings):
        work(directory)


def copy_checkpoint(checkpoint: Path, directory: Path) -> None:
    """Copy the model of an existing checkpoint."""
    for name in ("model.json", "weights.safetensors"):
        shutil.copyfile(checkpoint / name, directory / name)


def train_policy(train: Mapping[str, Any], arguments: Mapping[str, Any], directory: Path) -> None:
    """Call the training function of an agent preset, which saves the policy."""
    build(train, directory=directory, **arguments)


def evaluate_agent(
    config: Mapping[str, Any],
    paths: Mapping[str, Path],
    stages: Sequence[tuple[str, Path]],
    directory: Path,
) -> None:
    """Evaluate an agent on its episodes; save records, actions, training costs and the device.

    Args:
        config: Configuration of the stage.
        paths: Folders of the world model and the policy.
        stages: Key and folder of each stage on which the evaluation depends, for its costs.
        directory: Folder of the result.
    """
    from tqdm import tqdm

    from jepabench.agents.artifacts import artifact_folders
    from jepabench.agents.base import StatesCost, UsesDevice
    from jepabench.evaluation.model_checks.generalization import Change
    from jepabench.evaluation.rollout import evaluate_episodes
    from jepabench.evaluation.traces import save_evaluation

    preset = AgentPreset.from_config(config["agent"])
    seed = {"training_seed": config["seed"]} if preset.per_seed else {}
    folders = {key: path for key, path in paths.items() if key != "policy"}
    if "policy" in paths:
        folders |= artifact_folders(config["agent"], paths["policy"])
    agent = build(preset.agent, task_id=config["task_id"], **folders, **seed)
    specs = episode_specs(
        config["task_id"], config["split"], config["num_episodes"], strata=tuple(config["strata"])
    )
    change = Change(**config["change"]) if "change" in config else None
    with tqdm(total=len(specs), desc=f"evaluate {preset.name}", unit="episode", leave=False) as bar:
        evaluation = evaluate_episodes(
            agent,
            specs,
            agent_name=preset.name,
            training_seed=config["seed"],
            pixels=config["pixels"],
            progress=bar.update,
            variation=change.variation if change else None,
        )
    save_evaluation(directory, evaluation)
    cost = agent.training_cost if isinstance(agent, StatesCost) else sum_costs(preset, stages)
    cost = {**cost, "device": str(agent.device) if isinstance(agent, UsesDevice) else "cpu"}
    (directory / "cost.json").write_text(json.dumps(cost, indent=2), encoding="utf-8")


def measure_surprise(config: Mapping[str, Any], model: Path, directory: Path) -> None:
    """Measure the surprise of a world model, and that of untrained networks for comparison."""
    from jepabench.evaluation.model_checks.surprise import record_clips, surprise_table
    from jepabench.world_models.checkpoint import build_untrained, load_world_model

    loaded = load_world_model(model)
    clips = record_clips(
        config["task_id"],
        observation_key=loaded.model.observation_key,
        known=loaded.model.history,
        num_episodes=config["num_episodes"],
        split=config["split"],
        pixels=config["pixels"],
    )
    untrained = [build_untrained(model, seed=seed) for seed in range(_UNTRAINED)]
    table = surprise_table(loaded, clips, untrained=untrained)
    table.to_csv(directory / "surprise.csv", index=False, float_format="%.6g")


def sum_costs(agent: AgentPreset, stages: Sequence[tuple[str, Path]]) -> Mapping[str, float | None]:
    """Return the costs of an agent, None for those that are not stated."""
    from jepabench.evaluation.stages.costs import NOT_STATED, sum_spent

    if agent.cost is not None:
        return agent.cost
    is_foreign = not str(agent.agent["_target_"]).startswith("jepabench.")
    if is_foreign and not stages:
        return dict(NOT_STATED)
    return sum_spent(stages, agent.tuning).as_costs()
