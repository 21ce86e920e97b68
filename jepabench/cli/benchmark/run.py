"""``jepabench run``: everything a suite needs, from data to report."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import yaml
from hydra.utils import instantiate
from rich.console import Console

from jepabench.cli.benchmark.report import build_report
from jepabench.cli.doctor import SPEEDS
from jepabench.execution.costs import load_speeds
from jepabench.execution.executor import run_stages
from jepabench.pipeline.config import ConfigError, compose_root, load_preset
from jepabench.pipeline.stages import SuitePlan


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        help="suite=quick, agent=a,b and seed=0,1 (only these), output=folder, num_workers=4, suite.KEY=VALUE",
    )
    parser.add_argument(
        "--show", action="store_true", help="print the composed configuration and stop"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    root = suite_root(options.overrides)
    if options.show:
        shown = {
            **root,
            "agents": {name: load_preset("agent", name) for name in root["suite"]["agents"]},
        }
        print(yaml.safe_dump(shown, sort_keys=False), end="")
        return 0
    console, began = Console(), time.monotonic()
    suite = root["suite"]
    console.print(f"[bold]{suite['name']}[/] v{suite['version']}: {suite['description']}")
    plan = SuitePlan(root)
    do_stages(root, console)
    page = build_report(plan, console)
    console.print(f"Report: {page}   ({time.monotonic() - began:.0f} s in all)")
    return 0


def do_stages(root: dict, console: Console, *, kind: type[SuitePlan] = SuitePlan) -> None:
    """Does what is missing of a suite (or of another ``kind`` of plan), on the launcher of the root configuration."""
    # Workers may be started in another folder.
    elsewhere = {**root, "output": str(Path(root["output"]).resolve())}
    speeds = load_speeds(Path(root["output"]) / SPEEDS)
    run_stages(
        partial(kind, elsewhere),
        launcher=instantiate(elsewhere["launcher"]),
        console=console,
        speeds=speeds,
    )


def suite_root(overrides: list[str]) -> dict:
    """Composes the root configuration; ``agent=a,b`` and ``seed=0,1`` replace the suite's agents and training seeds."""
    chosen: dict[str, list[str]] = {"agent": [], "seed": []}
    rest = []
    for item in overrides:
        key, _, value = item.partition("=")
        if key in chosen:
            chosen[key] += [name for name in value.split(",") if name]
        else:
            rest.append(item)
    root = compose_root(rest)
    if chosen["agent"]:
        root["suite"]["agents"] = chosen["agent"]
        for name in chosen["agent"]:
            load_preset("agent", name)
    if chosen["seed"]:
        if not all(seed.isdecimal() for seed in chosen["seed"]):
            raise ConfigError(
                f"Training seeds are whole numbers from 0, got seed={','.join(chosen['seed'])}."
            )
        root["suite"]["training_seeds"] = [int(seed) for seed in chosen["seed"]]
    return root
