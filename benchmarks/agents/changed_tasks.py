"""Measure agents on tasks that change after training, without training anything again.

    python benchmarks/agents/changed_tasks.py jepabench/TwoRoom-v1

Planners change their cost: a chaser to avoid, a zone that must not be entered, or a path to follow
instead of the goal. Policies have no such input and act as they were trained. Episodes, starts and
goals are the same for all agents. Missing data, models and policies are made first, as in
``suite=quick``. Rows are written to ``results/tables/changed_tasks.csv``.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from hydra.utils import instantiate
from rich.console import Console
from tables import add_arguments, write_rows

from jepabench.agents.artifacts import artifact_folders
from jepabench.agents.base import Agent
from jepabench.agents.build import build_mpc
from jepabench.agents.costs.cost_tasks import AvoidChaser, AvoidZone, CostTask, FollowPath, GoTo
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.envs import episode_specs, get_task
from jepabench.evaluation.cost_tasks import evaluate_cost_task
from jepabench.evaluation.protocol import SuiteTask
from jepabench.evaluation.statistics.intervals import cell_interval
from jepabench.execution.executor import run_stages
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import Stage, SuitePlan

POLICIES = ("sac-her", "gciql", "tdmpc", "gciql-latent")
PLANNER = ICEMPlanner(horizon=5)


TASKS: dict[str, CostTask] = {
    "goal": GoTo(),
    "chaser": AvoidChaser(),
    "zone": AvoidZone(),
    "path": FollowPath(),
}


def main() -> None:
    """Measure what is missing and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, tasks=("TwoRoom-v1",))
    parser.add_argument("--policies", nargs="*", default=list(POLICIES))
    parser.add_argument("--changes", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--no-planner", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for task_id in options.tasks:
        agents = () if options.no_planner else ("jepa-goto",)
        for name, stages in train_missing(
            task_id, (*agents, *options.policies), options.output
        ).items():
            for change in options.changes:
                row = measure(task_id, name, change, stages, options)
                write_rows(
                    options.tables / "changed_tasks.csv", [row], ["world", "agent", "change"]
                )
                print(row, flush=True)


def train_missing(task_id: str, agents: Sequence[str], output: Path) -> dict[str, dict[str, Path]]:
    """Train the missing agents and return the folders of each agent by kind."""
    found = {}
    for name in agents:
        config = compose_run(
            ["suite=quick", f"agent={name}", f"output={output.resolve()}", "num_workers=1"]
        )
        task = SuiteTask(task_id=get_task(task_id).id, num_episodes=1)
        make_plan = partial(SuitePlan, config.with_suite(tasks=(task,)))
        plan = make_plan()
        (evaluation,) = plan.evaluations
        run_stages(
            make_plan,
            launcher=instantiate(config.launcher),
            console=Console(),
            only=list(evaluation.needs),
        )
        needs: list[Stage] = [plan.stages[key] for key in evaluation.needs]
        kinds = {"model": "world_model", "policy": "policy"}
        found[name] = {kinds[stage.key.partition("/")[0]]: stage.directory for stage in needs}
        found[name]["agent"] = preset = evaluation.config["agent"]
        if "policy" in found[name]:
            found[name] |= artifact_folders(preset, found[name].pop("policy"))
    return found


def measure(
    task_id: str, name: str, change: str, parts: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Return one row of the table."""
    task, folders = TASKS[change], {key: path for key, path in parts.items() if key != "agent"}
    agent: Agent
    if name == "jepa-goto":
        agent = build_mpc(task_id=task_id, task=task, planner=PLANNER, **folders)
    else:
        agent = instantiate(parts["agent"]["agent"], task_id=task_id, **folders, _convert_="all")
    strata = tuple(options.strata or get_task(task_id).strata)
    specs = episode_specs(task_id, "test", options.episodes, strata=strata)
    table: pd.DataFrame = evaluate_cost_task(agent, task, specs, agent_name=name)
    interval = cell_interval([table["success"].tolist()])
    broken = next((column for column in ("caught", "entered") if column in table), None)
    return {
        "world": task_id,
        "agent": "jepa planner" if name == "jepa-goto" else name,
        "change": change,
        "episodes": len(table),
        "success": float(table["success"].to_numpy().mean()),
        "low": interval.low,
        "high": interval.high,
        "broken": float(table[broken].to_numpy().mean()) if broken else float("nan"),
        "ms_per_step": 1000
        * table["planning_seconds"].to_numpy().sum()
        / table["steps"].to_numpy().sum(),
    }


if __name__ == "__main__":
    main()
