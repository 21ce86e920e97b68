"""``jepabench list``: what there is to choose from."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from envs.registry import list_tasks, make
from envs.variations import range_text
from jepabench.config import load_preset, options

KINDS = ("tasks", "suites", "agents", "world-models")
KINDS_OF_A_TASK = ("variations", "events")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("kind", nargs="?", default="tasks", choices=KINDS + KINDS_OF_A_TASK)
    parser.add_argument("task", nargs="?", help="whose variations or events")


def run(options_: argparse.Namespace) -> int:
    """Runs the verb."""
    kind, task = options_.kind, options_.task
    if (kind in KINDS_OF_A_TASK) != (task is not None):
        raise ValueError(
            f"`jepabench list {kind}` takes the id of a task, as in `jepabench list {kind} jepabench/TwoRoom-v1`."
            if task is None
            else f"`jepabench list {kind}` takes nothing more, got {task!r}."
        )
    if task is None:
        table = {"tasks": _tasks, "suites": _suites, "agents": _agents, "world-models": _world_models}[kind]()
    else:
        table = {"variations": _variations, "events": _events}[kind](task)
    Console().print(table)
    return 0


def _tasks() -> Table:
    import envs  # noqa: F401  (registers the tasks)

    table = Table("task", "strata", "block", "control dt", "success", box=None)
    for spec in list_tasks():
        table.add_row(spec.id, " ".join(spec.strata), str(spec.action_block), f"{spec.control_dt:g} s", spec.success)
    return table


def _variations(task_id: str) -> Table:
    import envs  # noqa: F401  (registers the tasks)

    table = Table("factor", "what it is, and its values", box=None)
    for factor in make(task_id).variations.factors:
        values = [f"none {range_text((factor.default, factor.default))}"]
        values += [f"mild {range_text(factor.mild)}", f"hard {range_text(factor.hard)}"] if factor.hard else []
        values += [f"allowed {range_text(factor.allowed)}", *factor.names]
        unit = f" [{factor.unit}]" if factor.unit else ""
        table.add_row(factor.name, escape(f"{factor.description}{unit}") + f"\n[dim]{'; '.join(values)}[/]")
    return table


def _events(task_id: str) -> Table:
    import envs  # noqa: F401  (registers the tasks)
    from envs.events import list_events

    table = Table("event", "kind", "what happens", box=None)
    for event in list_events(task_id):
        table.add_row(event.name, "harmless" if event.harmless else "impossible", event.description)
    return table


def _suites() -> Table:
    table = Table("suite", "tasks", "agents", "episodes", "seeds", "description", box=None)
    for name in options("suite"):
        suite = load_preset("suite", name)
        table.add_row(
            name, str(len(suite["tasks"])), str(len(suite["agents"])),
            str(sum(task["num_episodes"] * len(task["strata"]) for task in suite["tasks"])),
            str(len(suite["training_seeds"])), suite["description"],
        )  # fmt: skip
    return table


def _agents() -> Table:
    table = Table("agent", "observes", "data", "privilege", "needs", box=None)
    for name in options("agent"):
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
