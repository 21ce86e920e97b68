"""Compare flat with long-horizon agents and learned costs with L2 (claims C8 and C12).

    python benchmarks/agents/long_horizon.py --suite hierarchy    writes hierarchy.csv
    python benchmarks/agents/long_horizon.py --suite distances    writes distances.csv

All agents use one world model, the same test episodes and the same planner. A planner below other
levels gets fewer candidates, so that all agents use the same number of model steps. ``--state``
uses the state twin, ``--checkpoint push-t --data DATA`` an existing model, and ``--shrinking``
plans as ``jepa-shrinking`` does below every agent. Trained parts and evaluations are kept. If it is
interrupted, run the same command again.
"""

from __future__ import annotations

import argparse
import copy
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from tables import add_arguments, add_given_arguments, load_given, load_or_make, write_rows
from tqdm import tqdm

from jepabench.agents.artifacts import artifact_folders
from jepabench.envs import EpisodeSpec, episode_specs, get_task, make
from jepabench.evaluation.records import records_frame
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.statistics.intervals import cell_interval, paired_difference
from jepabench.execution.shared_model import SharedModel, train_shared_model
from jepabench.pipeline.config import load_preset
from jepabench.world_models.checkpoint import load_world_model

# Name in the table: (preset, planning cost; None keeps the preset's own).
SUITES: dict[str, dict[str, tuple[str, str | None]]] = {
    "hierarchy": {
        "flat": ("jepa-cem", None),
        "flat, quasimetric": ("jepa-quasimetric", None),
        "graph": ("jepa-graph", None),
        "2 levels, L2": ("jepa-hierarchy2", "jepabench.agents.costs.energy.GoalDistance"),
        "2 levels": ("jepa-hierarchy2", None),
        "3 levels": ("jepa-hierarchy3", None),
    },
    "distances": {
        "L2": ("jepa-cem", None),
        "quasimetric": ("jepa-quasimetric", None),
        "temporal": ("jepa-temporal", None),
        "reachability": ("jepa-reachability", None),
        "value": ("jepa-value", None),
    },
}
CHUNK = 10  # episodes per saved file
_MAZES = ("TwoRoom-v1", "PointMaze-UMaze-v1", "PointMaze-Medium-v1", "PointMaze-Large-v1")
TASKS = {"hierarchy": ("TwoRoom-v1", "PointMaze-Large-v1"), "distances": _MAZES}
STRATA = {
    "hierarchy": ("far", "beyond"),
    "distances": ("medium", "far"),
}  # only those that the task has


def main() -> None:
    """Evaluate what is missing and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, tasks=())
    add_given_arguments(parser)
    parser.add_argument("--suite", choices=SUITES, default="hierarchy")
    parser.add_argument("--agents", nargs="+", help="names in the suite; default: all")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument(
        "--state",
        action="store_true",
        help="use the state twin, a model of the true state that trains in seconds",
    )
    parser.add_argument(
        "--shrinking",
        action="store_true",
        help="shrink the horizon, so that every plan ends when the first one did",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    suite = SUITES[options.suite]
    asked = options.tasks or [f"jepabench/{task}" for task in TASKS[options.suite]]
    for parts in (
        [load_given(options)] if options.checkpoint else map(partial(prepare, options), asked)
    ):
        task_id, rows = parts.task_id, []
        for stratum in options.strata or [
            name for name in STRATA[options.suite] if name in get_task(task_id).strata
        ]:
            found: dict[str, pd.DataFrame] = {}
            for name in options.agents or suite:
                found[name] = evaluate_agent(parts, name, *suite[name], stratum, options)
                shown = f"{name}, shrinking" if options.shrinking else name
                rows.append(make_row(shown, parts, stratum, found[name], found[next(iter(found))]))
                print(rows[-1], flush=True)
                write_rows(
                    options.tables / f"{options.suite}.csv",
                    rows,
                    ["task", "model", "stratum", "agent"],
                )


def prepare(options: argparse.Namespace, task_id: str) -> SharedModel:
    """Return the data and world model of a task, and make them if they are missing."""
    agent = "state-cem" if options.state else "jepa-cem"
    return train_shared_model(task_id, options.output, agent=agent, pixels=not options.state)


def evaluate_agent(
    parts: SharedModel,
    name: str,
    preset: str,
    cost: str | None,
    stratum: str,
    options: argparse.Namespace,
) -> pd.DataFrame:
    """Return the episodes of one agent, saved in chunks and read from disk if they exist."""
    specs = episode_specs(parts.task_id, options.split, options.episodes, strata=(stratum,))
    folder, found = (
        parts.work / "long_horizon" / options.split / name.replace(", ", "-").replace(" ", ""),
        [],
    )
    folder = folder.with_name(f"{folder.name}-shrinking") if options.shrinking else folder
    for first in range(0, len(specs), CHUNK):
        part = specs[first : first + CHUNK]
        path = folder / f"{stratum}-{first}-{len(part)}.parquet"
        found.append(
            load_or_make(path, partial(play, parts, name, preset, cost, part, options.shrinking))
        )
    return pd.concat(found)


def play(
    parts: SharedModel,
    name: str,
    preset: str,
    cost: str | None,
    specs: list[EpisodeSpec],
    shrinking: bool,
) -> pd.DataFrame:
    """Play episodes with one agent."""
    agent = build(preset, cost, parts, shrinking=shrinking)
    with tqdm(total=len(specs), desc=f"{name} {specs[0].stratum}") as bar:
        return records_frame(
            evaluate_episodes(agent, specs, agent_name=name, progress=bar.update).records
        )


def build(preset: str, cost: str | None, parts: SharedModel, *, shrinking: bool) -> Any:
    """Train what an agent needs besides the model, and make the agent."""
    config = load_preset("agent", preset)
    paths: dict[str, Any] = {"task_id": parts.task_id, "world_model": parts.model}
    if "train" in config:
        folder = parts.work / "policies" / preset
        instantiate(
            config["train"],
            dataset=parts.data,
            directory=folder,
            seed=0,
            _convert_="all",
            **paths,
        )
        paths |= artifact_folders(config, folder)
    settings = replace_cost(config["agent"], cost) if cost else config["agent"]
    if load_world_model(parts.model).model.observation_key == "observation":
        goal = make(parts.task_id).observation_space["desired_goal"]
        settings = limit_goal_size(settings, int(np.prod(goal.shape or ())))
    settings.pop("record_imagination", None)
    if shrinking:
        like = load_preset("agent", "jepa-shrinking")["agent"]
        weight = like["energy"]["terms"][0]["running_weight"]
        settings["shrinking"] = like["shrinking"]
        settings["energy"]["terms"] = [
            term | {"running_weight": weight} for term in settings["energy"]["terms"]
        ]
    return instantiate(settings, **paths, _convert_="all")


def replace_cost(settings: Any, cost: str) -> Any:
    """Return settings with another class for every learned distance."""
    changed = copy.deepcopy(settings)
    if isinstance(changed, dict):
        if str(changed.get("_target_", "")).endswith("LearnedDistanceConfig"):
            changed["_target_"] = cost
        return {key: replace_cost(value, cost) for key, value in changed.items()}
    return (
        [replace_cost(value, cost) for value in changed] if isinstance(changed, list) else changed
    )


def limit_goal_size(settings: Any, size: int) -> Any:
    """Return settings whose distances to the goal compare only the first ``size`` entries.

    The state twin knows only these entries of the goal.
    """
    if isinstance(settings, dict):
        changed = {key: limit_goal_size(value, size) for key, value in settings.items()}
        return (
            changed | {"dims": [0, size]}
            if str(settings.get("_target_", "")).endswith("GoalDistance")
            else changed
        )
    return (
        [limit_goal_size(value, size) for value in settings]
        if isinstance(settings, list)
        else settings
    )


def make_row(
    name: str, parts: SharedModel, stratum: str, own: pd.DataFrame, flat: pd.DataFrame
) -> dict[str, Any]:
    """Return one row: three kinds of success, the cost, and the difference to the first agent."""
    held, base = (np.asarray(frame["success_held"], float)[None] for frame in (own, flat))
    rate = cell_interval(held)
    difference = paired_difference(held, base)
    blocks = own["steps"].sum() / get_task(parts.task_id).action_block
    return {
        "task": parts.name,
        "model": parts.model.name.split("-seed")[0],
        "stratum": stratum,
        "agent": name,
        "episodes": len(own),
        "held": rate.estimate,
        "held_low": rate.low,
        "held_high": rate.high,
        "ever": own["success_ever"].mean(),
        "final": own["success_final"].mean(),
        "against_first": difference.estimate,
        "against_low": difference.low,
        "against_high": difference.high,
        "model_steps_a_block": own["model_steps"].sum() / blocks,
        "planning_ms_a_block": 1000 * own["planning_seconds"].sum() / blocks,
    }


if __name__ == "__main__":
    main()
