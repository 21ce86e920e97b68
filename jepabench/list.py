"""``jepabench list``: what there is to choose from."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from envs.registry import list_tasks
from jepabench.config import load_preset, options

KINDS = ("tasks", "suites", "agents", "world-models")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("kind", nargs="?", default="tasks", choices=KINDS)


def run(options_: argparse.Namespace) -> int:
    """Runs the verb."""
    table = {"tasks": _tasks, "suites": _suites, "agents": _agents, "world-models": _world_models}[options_.kind]()
    Console().print(table)
    return 0


def _tasks() -> Table:
    import envs  # noqa: F401  (registers the tasks)

    table = Table("task", "strata", "block", "control dt", "success", box=None)
    for spec in list_tasks():
        table.add_row(spec.id, " ".join(spec.strata), str(spec.action_block), f"{spec.control_dt:g} s", spec.success)
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
