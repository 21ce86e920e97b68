"""Compare gradient-based planning with CEM, on a plain and a straightened latent space (claim C5).

    python benchmarks/agents/gradient.py [TASK ...]

Evaluates CEM, iCEM, gradient and hybrid searches of several sizes on the same test episodes, with
two world models per task: the task's own, and one that only adds the term ``curvature``, which
aligns successive latent velocities. Writes ``results/tables/gradient.csv``. If it is interrupted,
run the same command again.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tables import add_arguments, load_or_make, write_rows

from jepabench.agents.build import build_mpc
from jepabench.agents.costs.energy import Energy
from jepabench.agents.planners.base import Planner
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.hybrid import HybridPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.cli.benchmark.compare_planners import processor_milliseconds
from jepabench.envs import EpisodeSpec, episode_specs, get_task
from jepabench.evaluation.records import records_frame
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.statistics.intervals import cell_interval, paired_difference
from jepabench.execution.shared_model import SharedModel, train_shared_model
from jepabench.world_models.checkpoint import load_world_model
from jepabench.world_models.training.fit import fit

REFERENCE = "CEM 128 x 6"  # the others are compared with it on the same model
# Step sizes were chosen on validation episodes. Larger ones hold fewer goals in the small searches
# (0.6: 80 %, 1: 57 %, 0.3: 90 %).
SEARCHES: dict[str, Planner] = {
    REFERENCE: CEMPlanner(),
    "CEM 32 x 3": CEMPlanner(num_samples=32, num_elites=4, num_iterations=3),
    "iCEM 64 x 4": ICEMPlanner(),
    "gradient 16 x 20": GradientPlanner(num_iterations=20),
    "gradient 8 x 8": GradientPlanner(num_starts=8, num_iterations=8),
    "gradient 8 x 5": GradientPlanner(num_starts=8, num_iterations=5),
    "gradient 4 x 4": GradientPlanner(num_starts=4, num_iterations=4),
    "hybrid": HybridPlanner(
        refiner=GradientPlanner(num_starts=8, num_iterations=10, learning_rate=0.1, initial_std=0.1)
    ),
}


def main() -> None:
    """Train what is missing, evaluate, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, tasks=("TwoRoom-v1", "PointMaze-UMaze-v1"))
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--curvature", type=float, default=0.1, help="weight of the term")
    parser.add_argument("--searches", nargs="+", default=list(SEARCHES), choices=list(SEARCHES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for task_id in options.tasks:
        parts, rows = train_shared_model(task_id, options.output), []
        specs = episode_specs(
            parts.task_id,
            options.split,
            options.episodes,
            strata=tuple(options.strata or ("near", "medium")),
        )
        models = {
            "as it is": parts.model,
            f"curvature {options.curvature:g}": train_straightened(parts, options.curvature),
        }
        plain: dict[str, pd.DataFrame] = {}
        for name, model in models.items():
            found: dict[str, pd.DataFrame] = {}
            for search in dict.fromkeys([REFERENCE, *options.searches]):
                path = (
                    parts.work
                    / "gradient"
                    / model.name
                    / options.split
                    / f"{search}-{len(specs)}.parquet"
                )
                found[search] = load_or_make(
                    path, partial(play, parts.task_id, model, SEARCHES[search], specs)
                )
                plain.setdefault(search, found[search])
                compared = {"cem": found[REFERENCE], "as_it_is": plain[search]}
                rows.append(make_row(parts, name, model, search, specs[0], found[search], compared))
                print(rows[-1], flush=True)
        write_rows(options.tables / "gradient.csv", rows, ["task", "model", "search"])


def train_straightened(parts: SharedModel, weight: float) -> Path:
    """Train the task's model with the additional term ``curvature`` and return its folder."""
    folder = parts.work / "gradient" / f"curvature-{weight:g}"
    if not (folder / "model.json").exists():
        made = json.loads((parts.model / "model.json").read_text(encoding="utf-8"))
        config = made["config"] | {
            "terms": made["config"]["terms"] | {"curvature": {"weight": weight}}
        }
        fit(
            dataset=parts.data,
            validation=parts.validation,
            directory=folder,
            seed=made["metadata"]["seed"],
            kind=made["kind"],
            model=config,
            training=made["metadata"]["training"] | {"decoder_steps": 0},
        )
    return folder


def play(task_id: str, model: Path, planner: Planner, specs: list[EpisodeSpec]) -> pd.DataFrame:
    """Play episodes with one search on one model."""
    agent = build_mpc(task_id=task_id, world_model=model, planner=planner, energy=Energy())
    return records_frame(evaluate_episodes(agent, specs, agent_name="search").records)


def make_row(
    parts: SharedModel,
    name: str,
    model: Path,
    search: str,
    spec: EpisodeSpec,
    own: pd.DataFrame,
    others: dict[str, pd.DataFrame],
) -> dict[str, Any]:
    """Return one row: success, paired differences to the other runs and the cost of a plan."""
    held = own["success_held"].to_numpy(float)[None]
    rate, block = cell_interval(held), get_task(parts.task_id).action_block
    line: dict[str, Any] = {
        "task": parts.name,
        "model": name,
        "straightness": load_world_model(model).metadata["diagnosis"]["straightness"],
        "search": search,
        "episodes": len(own),
        "held": rate.estimate,
        "held_low": rate.low,
        "held_high": rate.high,
        "ever": own["success_ever"].mean(),
    }
    for what, other in others.items():
        base = other["success_held"].to_numpy(float)[None]
        found = paired_difference(held, base)
        line |= {
            f"against_{what}": found.estimate,
            f"{what}_low": found.low,
            f"{what}_high": found.high,
        }
    plans = own["steps"] / block
    return line | {
        "model_steps_a_plan": own["model_steps"].sum() / plans.sum(),
        "cpu_milliseconds_a_plan": processor_milliseconds(
            model, SEARCHES[search], spec, num_plans=15
        ),
    }


if __name__ == "__main__":
    main()
