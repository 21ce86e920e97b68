"""``jepabench list``: what there is to choose from."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jepabench.envs.registry import list_tasks, make
from jepabench.envs.variations.factors import range_text
from jepabench.pipeline.config import compose_root, load_preset, options
from jepabench.pipeline.plugins import plugin_names

CHOICES = ("tasks", "suites", "agents", "world-models")
KINDS_OF_A_TASK = ("variations", "events")
_ABOUT_COSTS = (
    "CPU time: all stages on one thread, by the speeds that `jepabench doctor` measured here, or by what stages like it took; "
    "good to a factor of two. Stages run side by side: divide by the cores."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("kind", nargs="?", default="tasks", choices=CHOICES + KINDS_OF_A_TASK)
    parser.add_argument(
        "task", nargs="?", help="whose variations or events; or the suite of which to say more"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("outputs"),
        help="folder in which `jepabench doctor` keeps speeds",
    )


def run(options_: argparse.Namespace) -> int:
    """Runs the verb."""
    kind, task = options_.kind, options_.task
    if kind == "suites":
        from jepabench import envs  # noqa: F401  (registers the tasks)

        Console().print(_suites(options_.output) if task is None else _suite(task, options_.output))
        return 0
    if (kind in KINDS_OF_A_TASK) != (task is not None):
        raise ValueError(
            f"`jepabench list {kind}` takes the id of a task, as in `jepabench list {kind} jepabench/TwoRoom-v1`."
            if task is None
            else f"`jepabench list {kind}` takes nothing more, got {task!r}."
        )
    if task is None:
        table = {"tasks": _tasks, "agents": _agents, "world-models": _world_models}[kind]()
    else:
        table = {"variations": _variations, "events": _events}[kind](task)
    Console().print(table)
    return 0


def _tasks() -> Table:
    from jepabench import envs  # noqa: F401  (registers the tasks)

    table = Table("task", "strata", "block", "control dt", "success", box=None)
    for spec in list_tasks():
        table.add_row(
            spec.id,
            " ".join(spec.strata),
            str(spec.action_block),
            f"{spec.control_dt:g} s",
            spec.success,
        )
    return table


def _variations(task_id: str) -> Table:
    from jepabench import envs  # noqa: F401  (registers the tasks)

    table = Table("factor", "what it is, and its values", box=None)
    for factor in make(task_id).variations.factors:
        values = [f"none {range_text((factor.default, factor.default))}"]
        values += (
            [f"mild {range_text(factor.mild)}", f"hard {range_text(factor.hard)}"]
            if factor.hard
            else []
        )
        values += [f"allowed {range_text(factor.allowed)}", *factor.names]
        unit = f" [{factor.unit}]" if factor.unit else ""
        table.add_row(
            factor.name, escape(f"{factor.description}{unit}") + f"\n[dim]{'; '.join(values)}[/]"
        )
    return table


def _events(task_id: str) -> Table:
    from jepabench import envs  # noqa: F401  (registers the tasks)
    from jepabench.envs.variations.events import list_events

    table = Table("event", "kind", "what happens", box=None)
    for event in list_events(task_id):
        table.add_row(event.name, "harmless" if event.harmless else "impossible", event.description)
    return table


def _suites(output: Path) -> Group:
    """The suites, with what each will cost by the speeds that ``jepabench doctor`` measured here."""
    from jepabench.execution.estimates import StageTimes, duration
    from jepabench.execution.speeds import load_or_measure_speeds
    from jepabench.pipeline.stages import SuitePlan

    speeds = load_or_measure_speeds(output)
    lines = [Text(_ABOUT_COSTS, style="dim")]
    for name in options("suite"):
        plan = SuitePlan(compose_root([f"suite={name}", f"output={output}"]))
        suite = plan.suite
        episodes = sum(task["num_episodes"] * len(task["strata"]) for task in suite["tasks"])
        cost = StageTimes(plan.stages, speeds).remaining(list(plan.stages))
        sizes = (
            (suite["tasks"], "task"),
            (suite["agents"], "agent"),
            (suite["training_seeds"], "seed"),
        )
        counts = ", ".join(f"{len(items)} {noun}{'s' * (len(items) > 1)}" for items, noun in sizes)
        size = f"{duration(cost).rjust(9)}   {counts}, {episodes:,} episodes"
        lines.append(Text.assemble((f"{name} v{suite['version']}".ljust(20), "bold"), size))
        lines.append(Text(f"  {suite['description']}", style="dim"))
    return Group(*lines)


def _suite(name: str, output: Path) -> Table:
    from jepabench.envs.task import short_name
    from jepabench.execution.estimates import StageTimes, duration
    from jepabench.execution.speeds import load_or_measure_speeds
    from jepabench.pipeline.stages import KINDS, SuitePlan

    plan = SuitePlan(compose_root([f"suite={name}", f"output={output}"]))
    times = StageTimes(plan.stages, load_or_measure_speeds(output))
    suite = plan.suite
    kinds = [kind for kind in KINDS if any(key.startswith(f"{kind}/") for key in plan.stages)]
    table = Table("task", "strata", "episodes", *kinds, "CPU time", box=None)
    for task in suite["tasks"]:
        own = [key for key in plan.stages if key.split("/")[1] == short_name(task["task_id"])]
        counts = [str(sum(key.startswith(f"{kind}/") for key in own) or "-") for kind in kinds]
        cost = duration(times.remaining(own))
        table.add_row(
            short_name(task["task_id"]),
            " ".join(task["strata"]),
            str(task["num_episodes"]),
            *counts,
            cost,
        )
    seeds = ", ".join(map(str, suite["training_seeds"]))
    table.title, table.title_justify = f"{name} v{suite['version']}: {suite['description']}", "left"
    table.caption = f"agents {', '.join(suite['agents'])}; training seeds {seeds}. {_ABOUT_COSTS}"
    table.caption_justify = "left"
    return table


def _agents() -> Table:
    table = Table("agent", "observes", "data", "privilege", "needs", box=None)
    for name in [*options("agent"), *plugin_names()]:
        agent = load_preset("agent", name)
        track = agent["track"]
        needs = agent.get("world_model") or ("training" if agent.get("train") else "nothing")
        table.add_row(name, track["observation"], track["data"], track["privilege"], needs)
    return table


def _world_models() -> Table:
    table = Table("world model", "kind", "description", box=None)
    for name in options("world_model"):
        preset = load_preset("world_model", name)
        table.add_row(name, preset["kind"], preset["description"])
    return table
