"""``jepabench compare planners``: every planner on one world model a task; success against model steps and milliseconds."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

PLANNERS = (
    "jepa-shooting", "jepa-cem", "jepa-icem", "jepa-mppi", "jepa-cmaes", "jepa-gradient", "jepa-sgd", "jepa-hybrid",
    "jepa-state-space", "jepa-adaptive",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("checkpoints", nargs="+", type=Path, help="folders of world models, one a task")
    parser.add_argument("--planners", default=",".join(PLANNERS), help="agent presets, comma-separated")
    parser.add_argument("--episodes", type=int, default=20, help="of each stratum")
    parser.add_argument("--strata", default="near,medium", help="comma-separated")
    parser.add_argument(
        "--output", type=Path, default=Path("planners"), help="folder for planners.csv and planners.png"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further planner after so long")


def run(options: argparse.Namespace) -> int:
    """Runs the verb; rows are written as they come, and rows that are there already are not measured again."""
    import pandas as pd

    path, began = options.output / "planners.csv", time.monotonic()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    strata = tuple(options.strata.split(","))
    for checkpoint in options.checkpoints:
        for name in options.planners.split(","):
            done = any(row["checkpoint"] == str(checkpoint) and row["planner"] == name for row in rows)
            if done or time.monotonic() - began > options.seconds:
                continue
            rows.append(measure(checkpoint, name, strata=strata, num_episodes=options.episodes))
            table = pd.DataFrame(rows)
            partial = path.with_suffix(".partial")
            table.to_csv(partial, index=False, float_format="%.4g")
            partial.replace(path)
            print(table.tail(1).to_string(index=False, header=len(rows) == 1), flush=True)
    draw(pd.DataFrame(rows), options.output / "planners.png")
    return 0


def measure(checkpoint: Path, name: str, *, strata: tuple[str, ...], num_episodes: int) -> dict[str, Any]:
    """Plays the validation episodes of the checkpoint's task with one planner and returns a row of the table."""
    from hydra.utils import instantiate

    from envs.splits import episode_specs
    from evaluation.rollout import evaluate_episodes
    from evaluation.statistics import cell_interval
    from jepabench.config import load_preset
    from world_models.checkpoint import load_world_model

    task_id = load_world_model(checkpoint).task_id
    preset = load_preset("agent", name)["agent"]
    preset.pop("record_imagination", None)
    agent = instantiate(preset, task_id=task_id, world_model=checkpoint, _convert_="all")
    specs = episode_specs(task_id, "validation", num_episodes, strata=strata)
    records = evaluate_episodes(agent, specs, agent_name=name).records
    held = [record.success_held for record in records]
    interval = cell_interval([held])
    steps = sum(record.steps for record in records)
    plans = steps / agent.task.action_block if hasattr(agent, "task") else steps / agent._control.task.action_block
    return {
        "task": task_id, "planner": name, "checkpoint": str(checkpoint), "episodes": len(held),
        "held": sum(held) / len(held), "low": interval.low, "high": interval.high,
        "ever": sum(record.success_ever for record in records) / len(held),
        "model_steps_a_plan": sum(record.model_steps for record in records) / plans,
        "milliseconds_a_plan": 1000 * sum(record.planning_seconds for record in records) / plans,
    }  # fmt: skip


def draw(table: Any, path: Path) -> None:
    """Draws success against model steps and against milliseconds, a row of panels a task."""
    from matplotlib.figure import Figure

    tasks = list(table["task"].unique())
    figure = Figure(figsize=(10, 3.6 * len(tasks)), layout="constrained")
    axes = figure.subplots(len(tasks), 2, squeeze=False, sharey=True)
    for row, task in zip(axes, tasks, strict=True):
        cells = table[table["task"] == task]
        for axis, column in zip(row, ("model_steps_a_plan", "milliseconds_a_plan"), strict=True):
            for number, cell in enumerate(cells.itertuples()):
                marker = "osD^vP*X<>"[number % 10]
                error = [[cell.held - cell.low], [cell.high - cell.held]]
                axis.errorbar(getattr(cell, column), cell.held, yerr=error, fmt=marker, capsize=2, label=cell.planner)
            axis.set(xscale="log", xlabel=column.replace("_", " "), ylim=(-0.03, 1.03), title=task)
        row[0].set_ylabel("held success, 95 % interval")
        row[1].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=110)
