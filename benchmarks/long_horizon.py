"""Flat and long-horizon agents on one world model: success against distance, paired, at equal model steps.

    python benchmarks/long_horizon.py TASK --model DIR --data DIR --work DIR --table results/tables/hierarchy.csv

MODEL is a checkpoint, DATA the dataset it was trained on. What an agent trains on top, and each evaluation, is kept in WORK, so
that a killed run goes on. Rows of other tasks in the table stay. ``--suite distances`` compares the learned costs instead.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from tqdm import tqdm

from envs import episode_specs, get_task
from evaluation.records import read_records, write_records
from evaluation.rollout import evaluate_episodes
from evaluation.statistics import cell_interval, paired_bootstrap
from jepabench.config import load_preset

# name in the table: preset, its planning cost (None for the preset's own)
SUITES: dict[str, dict[str, tuple[str, str | None]]] = {
    "hierarchy": {
        "flat": ("jepa-cem", None),
        "flat, quasimetric": ("jepa-quasimetric", None),
        "graph": ("jepa-graph", None),
        "2 levels, L2": ("jepa-hierarchy2", "agents.energy.GoalDistance"),
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


def main() -> None:
    """Evaluates what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--suite", choices=SUITES, default="hierarchy")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--agents", nargs="+", help="names in the suite; all by default")
    parser.add_argument("--strata", nargs="+")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    task, suite = get_task(options.task), SUITES[options.suite]
    strata, rows = tuple(options.strata or task.strata), []
    for stratum in strata:
        found: dict[str, pd.DataFrame] = {}
        for name in options.agents or suite:
            found[name] = records(name, *suite[name], task.id, stratum, options)
            rows.append(row(name, task.id, stratum, found[name], found[next(iter(found))]))
            print(rows[-1], flush=True)
    write_table(options.table, pd.DataFrame(rows))


def records(
    name: str, preset: str, cost: str | None, task_id: str, stratum: str, options: argparse.Namespace
) -> pd.DataFrame:
    """Returns the episodes of one agent, from disk if they are there."""
    file = (
        options.work
        / options.split
        / f"{name.replace(', ', '-').replace(' ', '')}-{stratum}-{options.episodes}.parquet"
    )
    if not file.exists():
        agent = build(preset, cost, task_id, options)
        specs = episode_specs(task_id, options.split, options.episodes, strata=(stratum,))
        with tqdm(total=len(specs), desc=f"{name} {stratum}") as bar:
            evaluation = evaluate_episodes(agent, specs, agent_name=name, progress=bar.update)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_records(file, evaluation.records)
    return read_records(file).sort_values("index")


def build(preset: str, cost: str | None, task_id: str, options: argparse.Namespace) -> Any:
    """Trains what an agent needs on top of the model, and makes the agent."""
    config = load_preset("agent", preset)
    paths = {"task_id": task_id, "world_model": options.model}
    if "train" in config:
        paths["policy"] = options.work / "policies" / preset
        instantiate(
            config["train"], dataset=options.data, directory=paths["policy"], seed=0, task_id=task_id,
            world_model=options.model, _convert_="all",
        )  # fmt: skip
    settings = with_cost(config["agent"], cost) if cost else config["agent"]
    settings.pop("record_imagination", None)
    return instantiate(settings, **paths, _convert_="all")


def with_cost(settings: Any, cost: str) -> Any:
    """Returns settings with another class for every learned distance in them."""
    changed = copy.deepcopy(settings)
    if isinstance(changed, dict):
        if str(changed.get("_target_", "")).endswith("LearnedDistance"):
            changed["_target_"] = cost
        return {key: with_cost(value, cost) for key, value in changed.items()}
    return [with_cost(value, cost) for value in changed] if isinstance(changed, list) else changed


def row(name: str, task_id: str, stratum: str, own: pd.DataFrame, flat: pd.DataFrame) -> dict[str, Any]:
    """Returns one line of the table: success of three kinds, what it cost, and the paired difference to the first agent."""
    held, base = (np.asarray(frame["success_held"], float)[None] for frame in (own, flat))
    rate = cell_interval(held)
    difference = paired_bootstrap(held, base, generator=np.random.default_rng(0))
    blocks = own["steps"].sum() / get_task(task_id).action_block
    return {
        "task": task_id.split("/")[-1], "stratum": stratum, "agent": name, "episodes": len(own),
        "held": rate.estimate, "held_low": rate.low, "held_high": rate.high,
        "ever": own["success_ever"].mean(), "final": own["success_final"].mean(),
        "against_first": difference.estimate, "against_low": difference.low, "against_high": difference.high,
        "model_steps_a_block": own["model_steps"].sum() / blocks,
        "planning_ms_a_block": 1000 * own["planning_seconds"].sum() / blocks,
    }  # fmt: skip


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes the rows in place of those of the same task, stratum and agent."""
    keys = ["task", "stratum", "agent"]
    if path.exists():
        table = pd.concat([pd.read_csv(path), table]).drop_duplicates(keys, keep="last")
    path.parent.mkdir(parents=True, exist_ok=True)
    table.sort_values(keys[:2], kind="stable").round(4).to_csv(path, index=False)


if __name__ == "__main__":
    main()
