"""``jepabench run``: everything a suite needs, from data to report."""

from __future__ import annotations

import argparse
import time

import yaml
from rich.console import Console

from jepabench.config import compose_root, load_preset
from jepabench.executor import run_stages
from jepabench.report import build_report
from jepabench.stages import SuitePlan


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "overrides", nargs="*",
        help="suite=quick, agent=a,b (only these), output=folder, suite.KEY=VALUE, AGENT.KEY=VALUE",
    )  # fmt: skip
    parser.add_argument("--show", action="store_true", help="print the composed configuration and stop")


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    root = suite_root(options.overrides)
    if options.show:
        shown = {**root, "agents": {name: load_preset("agent", name) for name in root["suite"]["agents"]}}
        print(yaml.safe_dump(shown, sort_keys=False), end="")
        return 0
    console, began = Console(), time.monotonic()
    suite = root["suite"]
    console.print(f"[bold]{suite['name']}[/] v{suite['version']}: {suite['description']}")
    plan = SuitePlan(root)
    run_stages(plan, num_workers=root["num_workers"], console=console)
    page = build_report(plan, console)
    console.print(f"Report: {page}   ({time.monotonic() - began:.0f} s in all)")
    return 0


def suite_root(overrides: list[str]) -> dict:
    """Composes the root configuration; ``agent=a,b`` narrows the suite's agents."""
    chosen = [item.partition("=")[2] for item in overrides if item.startswith("agent=")]
    root = compose_root([item for item in overrides if not item.startswith("agent=")])
    if chosen:
        root["suite"]["agents"] = [name for item in chosen for name in item.split(",") if name]
        for name in root["suite"]["agents"]:
            load_preset("agent", name)
    return root
