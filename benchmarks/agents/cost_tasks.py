"""Compare an agent that plans with a task's cost with agents that only know the goal.

    python benchmarks/agents/cost_tasks.py [TASK ...]

All cost tasks of an environment share one world model and one linear probe; nothing else is
trained. The test episodes are paired. Writes ``results/tables/cost_tasks.csv``. Score any other
agent in the same way with ``jepabench.evaluation.cost_tasks.evaluate_cost_task``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from hydra.utils import instantiate
from tables import add_arguments, load_or_make, write_rows

from jepabench.agents.base import Agent
from jepabench.agents.costs.cost_tasks import AvoidChaser, CostTask, FollowPath, GoTo
from jepabench.agents.mpc.cost_agent import train
from jepabench.envs import episode_specs, get_task
from jepabench.evaluation.cost_tasks import evaluate_cost_task
from jepabench.evaluation.statistics.intervals import cell_interval, paired_difference
from jepabench.execution.shared_model import SharedModel, train_shared_model
from jepabench.pipeline.config import load_preset

# In the units of each environment: PointMaze is ten times as large as TwoRoom, and its ball moves
# up to half a metre per model step.
TASKS: dict[str, dict[str, CostTask]] = {
    "TwoRoom-v1": {"goto": GoTo(), "path": FollowPath(), "chaser": AvoidChaser()},
    "PointMaze-UMaze-v1": {
        "goto": GoTo(),
        "path": FollowPath(pace=0.2, spacing=0.5),
        "chaser": AvoidChaser(speed=0.1, radius=0.35, gap=0.8, margin=0.2, weight=30.0),
    },
}
STRATA = {"TwoRoom-v1": ("near", "medium"), "PointMaze-UMaze-v1": ("near", "medium")}
UNAWARE = ("jepa-icem", "expert", "random")  # know only the goal


def main() -> None:
    """Evaluate what is missing and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, tasks=tuple(TASKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for task_id in options.tasks:
        parts, rows = train_shared_model(task_id, options.output), []
        for name in TASKS[parts.name]:
            told = evaluate_agent(parts, name, f"jepa-{name}", options)
            for agent in (f"jepa-{name}", *UNAWARE):
                rows.append(
                    make_row(parts, name, agent, evaluate_agent(parts, name, agent, options), told)
                )
                print(rows[-1], flush=True)
                write_rows(options.tables / "cost_tasks.csv", rows, ["world", "task", "agent"])


def evaluate_agent(
    parts: SharedModel, name: str, agent: str, options: argparse.Namespace
) -> pd.DataFrame:
    """Return the results of an agent, one row per episode, read from disk if they exist."""
    task, strata = TASKS[parts.name][name], tuple(options.strata or STRATA[parts.name])
    specs = episode_specs(parts.task_id, "test", options.episodes // len(strata), strata=strata)
    return load_or_make(
        parts.work
        / "cost_tasks"
        / "-".join([name, agent, str(len(specs)), *strata, "episodes.parquet"]),
        lambda: evaluate_cost_task(build(agent, task, parts), task, specs, agent_name=agent),
    )


def build(name: str, task: CostTask, parts: SharedModel) -> Agent:
    """Make an agent; a cost-aware one gets the cost of this environment."""
    preset = load_preset("agent", name)
    paths: dict[str, Any] = {"task_id": parts.task_id}
    if preset.get("world_model"):
        paths["world_model"] = parts.model
    if preset.get("train"):
        paths |= {"probe": fit_probe(parts), "task": task}
    preset["agent"].pop("record_imagination", None)
    return instantiate({**preset["agent"], "_partial_": True}, _convert_="all")(**paths)


def fit_probe(parts: SharedModel) -> Path:
    """Fit the probe unless it exists, and return its folder."""
    folder = parts.work / "places"
    if not (folder / "training.json").exists():
        train(
            task_id=parts.task_id,
            dataset=parts.data,
            world_model=parts.model,
            directory=folder,
            seed=0,
        )
    return folder


def make_row(
    parts: SharedModel, task: str, agent: str, own: pd.DataFrame, told: pd.DataFrame
) -> dict[str, Any]:
    """Return one row: success, the task's scores and the difference to the cost-aware agent."""
    success, base = (frame["success"].to_numpy(float)[None] for frame in (own, told))
    rate = cell_interval(success)
    difference = paired_difference(success, base)
    blocks = own["steps"].sum() / get_task(parts.task_id).action_block
    more = {
        key: own[key].mean() for key in ("passed", "caught", "arrived", "distance") if key in own
    }
    return {
        "world": parts.name,
        "task": task,
        "agent": agent,
        "episodes": len(own),
        "success": rate.estimate,
        "low": rate.low,
        "high": rate.high,
        "against_told": difference.estimate,
        "against_low": difference.low,
        "against_high": difference.high,
        "passed": None,
        "caught": None,
        "arrived": None,
        "distance": None,
        **more,
        "model_steps_a_block": own["model_steps"].sum() / blocks,
    }


if __name__ == "__main__":
    main()
