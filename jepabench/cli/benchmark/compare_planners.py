"""``jepabench compare planners``: compare planners at several budgets on one world model.

It writes a table and plots success against compute for each task.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jepabench.cli.arguments import Folder, Number, Numbers, Whole
from jepabench.envs import make, reset_to
from jepabench.envs.data.files import atomic_write
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task
from jepabench.envs.splits import episode_specs

if TYPE_CHECKING:
    from jepabench.pipeline.schema import AgentPreset

PLANNERS = (
    "jepa-shooting",
    "jepa-cem",
    "jepa-icem",
    "jepa-mppi",
    "jepa-cmaes",
    "jepa-gradient",
    "jepa-sgd",
    "jepa-hybrid",
    "jepa-state-space",
    "jepa-adaptive",
)
# Settings that a budget scales. The number of iterations is kept.
_SIZES = ("num_samples", "num_elites", "num_starts")
_KEYS = ("task", "checkpoint", "world_model")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "what",
        nargs="+",
        help="task=NAME[,NAME] (trains a world model if there is none), "
        "checkpoint=FOLDER[,FOLDER] or folders; world_model=state-twin plans on the true state",
    )
    parser.add_argument(
        "--planners", default=",".join(PLANNERS), help="agent presets, comma-separated"
    )
    parser.add_argument(
        "--agent",
        help="preset for everything except the planner (default: jepa-cem, or state-cem for the "
        "state twin)",
    )
    parser.add_argument(
        "--proposals",
        type=Folder(),
        help="folder of a policy on the model's latents, which proposes plans to every planner",
    )
    parser.add_argument(
        "--horizon",
        type=Whole(1),
        help="planning horizon in model steps (default: that of the planner's preset)",
    )
    parser.add_argument(
        "--budgets", type=Numbers(), default=(0.25, 1.0), help="search sizes relative to the preset"
    )
    parser.add_argument("--episodes", type=Whole(1), default=20, help="episodes per stratum")
    parser.add_argument(
        "--strata", default="", help="strata, comma-separated (default: the first two of a task)"
    )
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument(
        "--output", type=Folder(), default=Path("outputs"), help="folder of data and models"
    )
    parser.add_argument(
        "--table", type=Folder(), help="CSV file (default: planners/planners.csv below the output)"
    )
    parser.add_argument(
        "--seconds", type=Number(0), default=1e12, help="start no planner after this time [s]"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command. Each row is saved when it is measured, and existing rows are kept."""
    import pandas as pd

    path, began = options.table or options.output / "planners" / "planners.csv", time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    strata = tuple(name for name in options.strata.split(",") if name)
    for checkpoint in checkpoints(options.what, options.output):
        for name in options.planners.split(","):
            for budget in options.budgets:
                key = {"checkpoint": label(checkpoint), "planner": name, "budget": budget}
                preset = make_preset(checkpoint, name, budget, options)
                key |= {
                    "agent": preset.name,
                    "horizon": agent_planner(preset).horizon,
                    "split": options.split,
                }
                done = any(
                    all(row.get(part) == value for part, value in key.items()) for row in rows
                )
                if done or time.monotonic() - began > options.seconds:
                    continue
                found = measure(checkpoint, preset, strata=strata, options=options)
                rows.append({"task": found.pop("task"), **key, **found})
                table = pd.DataFrame(rows)
                with atomic_write(path) as partial:
                    table.to_csv(partial, index=False, float_format="%.4g")
                print(table.tail(1).to_string(index=False, header=len(rows) == 1), flush=True)
    draw(pd.DataFrame(rows), path.with_suffix(".png"))
    print(f"{path} and {path.with_suffix('.png')}")
    return 0


def checkpoints(what: list[str], output: Path) -> list[Path]:
    """Return the folders of the requested world models. Train missing models of tasks."""
    from jepabench.execution.shared_model import train_shared_model
    from jepabench.pipeline.checkpoints import find_checkpoint
    from jepabench.pipeline.tasks import resolve_task

    asked: dict[str, list[str]] = {key: [] for key in _KEYS}
    for item in what:
        key, separator, value = item.partition("=")
        if separator and key not in asked:
            raise unknown_name("key of `jepabench compare planners`", key, _KEYS)
        asked[key if separator else "checkpoint"] += (value if separator else item).split(",")
    agents = {"": "jepa-cem", "jepa": "jepa-cem", "state-twin": "state-cem"}
    (world_model,) = asked["world_model"] or [""]
    if world_model not in agents:
        raise unknown_name(
            "world model to train for a comparison", world_model, [name for name in agents if name]
        )
    found = [find_checkpoint(name) for name in asked["checkpoint"]]
    for task in asked["task"]:
        task_id = resolve_task(task)
        found.append(
            train_shared_model(
                task_id, output, agent=agents[world_model], pixels=world_model != "state-twin"
            ).model
        )
    return found


def label(checkpoint: Path) -> str:
    """Return the name of a checkpoint in the table: the last two parts of its path."""
    return "/".join(checkpoint.resolve().parts[-2:])


def scale_planner(
    planner: Mapping[str, Any], budget: float, horizon: int | None = None
) -> dict[str, Any]:
    """Return the settings of a planner with a search that is ``budget`` times as large.

    Numbers of candidates, elites and starts are scaled. A planner without these gets more
    iterations. No number becomes smaller than 2. Inner planners are scaled in the same way, and
    ``horizon`` replaces the horizon of each.
    """
    changed = {
        key: scale_planner(value, budget, horizon) if isinstance(value, Mapping) else value
        for key, value in planner.items()
    }
    if horizon is not None and "horizon" in planner:
        changed["horizon"] = horizon
    if any(isinstance(value, Mapping) for value in planner.values()):
        return changed
    keys = [key for key in _SIZES if key in planner] or ["num_iterations"]
    return changed | {key: max(2, round(planner[key] * budget)) for key in keys}


def make_preset(
    checkpoint: Path, planner: str, budget: float, options: argparse.Namespace
) -> AgentPreset:
    """Return the preset of ``--agent`` with the scaled planner of the preset ``planner``."""
    from jepabench.pipeline.config import load_agent
    from jepabench.pipeline.saved_model import agent_preset, default_agent
    from jepabench.world_models.checkpoint import load_world_model

    loaded = load_world_model(checkpoint)
    preset = agent_preset(checkpoint, options.agent or default_agent(loaded.model.observation_key))
    name, settings = preset.name, dict(preset.agent)
    settings.pop("record_imagination", None)
    settings["planner"] = scale_planner(
        load_agent(planner).agent["planner"], budget, options.horizon
    )
    if options.proposals:
        settings["proposals"] = options.proposals
        name += ", proposals"
    if loaded.model.observation_key == "observation":
        # For the state twin, the goal specifies only the first entries of the state.
        size = make(loaded.task_id).observation_space["desired_goal"].shape[-1]  # pyright: ignore[reportOptionalSubscript]
        first, *others = settings["energy"]["terms"]
        terms = [{**first, "dims": [0, size]}, *others]
        settings["energy"] = {**settings["energy"], "terms": terms}
    return replace(preset, name=name, agent=settings)


def measure(
    checkpoint: Path,
    preset: AgentPreset,
    *,
    strata: tuple[str, ...],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Evaluate the agent of a preset on the checkpoint's task and return a row of the table."""
    from jepabench.evaluation.rollout import evaluate_episodes
    from jepabench.evaluation.statistics.intervals import cell_interval
    from jepabench.pipeline.saved_model import build_agent, read_task_id

    task = get_task(read_task_id(checkpoint))
    agent = build_agent(preset, checkpoint, task.id)
    specs = episode_specs(
        task.id, options.split, options.episodes, strata=strata or task.strata[:2]
    )
    records = evaluate_episodes(agent, specs, agent_name=preset.name).records
    held = [record.success_held for record in records]
    interval = cell_interval([held])
    plans = sum(record.steps for record in records) / task.action_block
    return {
        "task": task.id,
        "strata": " ".join(dict.fromkeys(spec.stratum for spec in specs)),
        "episodes": len(held),
        "held": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "ever": sum(record.success_ever for record in records) / len(held),
        "model_steps_a_plan": sum(record.model_steps for record in records) / plans,
        "milliseconds_a_plan": processor_milliseconds(checkpoint, agent_planner(preset), specs[0]),
    }


def agent_planner(preset: AgentPreset) -> Any:
    """Return the planner of a preset."""
    from hydra.utils import instantiate

    return instantiate(preset.agent["planner"], _convert_="all")


def processor_milliseconds(
    checkpoint: Path, planner: Any, spec: Any, *, num_plans: int = 5
) -> float:
    """Return the median CPU time of a plan from the start of an episode [ms].

    CPU time depends little on the load of the machine, unlike the wall-clock time in the records
    of a run. Proposal policies are not included.
    """
    import torch

    from jepabench.agents.costs.energy import Energy
    from jepabench.agents.costs.latent_cost import LatentCost
    from jepabench.agents.encoding import encode_goal_rows, encode_rows
    from jepabench.agents.planners.base import ActionBounds
    from jepabench.world_models.base import Context
    from jepabench.world_models.checkpoint import load_world_model

    model = load_world_model(checkpoint).model
    model.eval().requires_grad_(False)  # pyright: ignore[reportAttributeAccessIssue]
    seen, _ = reset_to(
        make(spec.task_id, pixels=64 if model.observation_key == "pixels" else None), spec
    )
    rows = {name: value[None] for name, value in seen.items()}
    latents = torch.stack([encode_rows(model, rows, [0])] * model.history, dim=1)
    context = Context(latents, torch.zeros(1, model.history - 1, model.action_size))
    cost = LatentCost(model, context, encode_goal_rows(model, rows, [0]), Energy())
    bounds = ActionBounds(
        torch.full((model.action_size,), -2.0), torch.full((model.action_size,), 2.0)
    )
    times = []
    for seed in range(num_plans):
        began = time.process_time()
        planner.plan(
            cost, bounds=bounds, initial=None, generators=[torch.Generator().manual_seed(seed)]
        )
        times.append(1000 * (time.process_time() - began))
    return statistics.median(times)


def draw(table: Any, path: Path) -> None:
    """Plot success against model steps and milliseconds.

    There is one row of panels per task. A line joins the budgets of a planner.
    """
    from matplotlib.figure import Figure

    groups = list(table.groupby(["task", "checkpoint"], sort=False))
    names = list(dict.fromkeys(table["planner"]))
    figure = Figure(figsize=(11, 3.4 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False, sharey=True)
    for row, ((task, _), cells) in zip(axes, groups, strict=True):
        for axis, column in zip(row, ("model_steps_a_plan", "milliseconds_a_plan"), strict=True):
            for number, name in enumerate(names):
                own = cells[cells["planner"] == name].sort_values("budget")
                if len(own):
                    error = [own["held"] - own["low"], own["high"] - own["held"]]
                    style = {
                        "color": f"C{number}",
                        "marker": "osD^vP*X<>"[number % 10],
                        "capsize": 2,
                        "elinewidth": 0.6,
                    }
                    axis.errorbar(
                        own[column], own["held"], yerr=error, label=name, linewidth=1.2, **style
                    )
            axis.set(
                xscale="log",
                xlabel=column.replace("_", " "),
                ylim=(-0.03, 1.03),
                title=task.split("/")[-1],
            )
            axis.grid(alpha=0.2)
        row[0].set_ylabel("held success, 95 % interval")
    axes[0][1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=110)
