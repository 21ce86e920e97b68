"""``jepabench status``: what is done, running, failed and why, and missing."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jepabench.evaluation.stages.stage import StageState, stage_state
from jepabench.execution.executor import last_line, last_lines
from jepabench.pipeline.stages import KINDS, Stage, SuitePlan

STATES = ("done", "running", "failed", "stopped", "missing")
_LOG_LINES = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        help="as given to `jepabench run` or `sweep`; without suite=, all sweeps that were begun in the output folder",
    )
    parser.add_argument(
        "--all", action="store_true", help="also name what is done, stopped and missing"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the verb; exit code 1 if something failed."""
    from jepabench.cli.benchmark.run import suite_root

    console, failed = Console(), 0
    root = suite_root(options.overrides)
    asked = any(item.partition("=")[0] == "suite" for item in options.overrides)
    begun = [] if asked else sorted((Path(root["output"]) / "sweeps").glob("*.json"))
    for sweep in begun:
        failed += print_status(
            SuitePlan({**root, **json.loads(sweep.read_text(encoding="utf-8"))}),
            console,
            every=options.all,
        )
    if not begun:
        failed += print_status(SuitePlan(root), console, every=options.all)
    return 1 if failed else 0


def print_status(plan: SuitePlan, console: Console, *, every: bool = False) -> int:
    """Prints how far the stages of a plan are, and returns how many failed."""
    states = {key: stage_state(stage.directory, stage.config) for key, stage in plan.stages.items()}
    suite = plan.suite
    seeds = ", ".join(map(str, suite["training_seeds"]))
    console.print(
        f"[bold]{suite['name']}[/] v{suite['version']} in {plan.output}, training seeds {seeds}"
    )
    table = Table("stages", *STATES, box=None)
    for kind in KINDS:
        counts = Counter(state.name for key, state in states.items() if key.startswith(f"{kind}/"))
        if counts:
            table.add_row(kind, *(str(counts[name] or "-") for name in STATES))
    console.print(table)
    for key, state in states.items():
        if state.name in ("running", "failed") or every:
            _print_stage(plan.stages[key], state, console)
    return sum(state.name == "failed" for state in states.values())


def _print_stage(stage: Stage, state: StageState, console: Console) -> None:
    colour = {"done": "green", "running": "cyan", "failed": "red"}.get(state.name, "dim")
    console.print(f"[{colour}]{state.name}[/] {escape(stage.title)}", highlight=False)
    if state.name == "running":
        console.print(
            f"  [dim]{escape(state.detail)}  {escape(last_line(stage))}[/]", highlight=False
        )
    if state.name == "failed":
        for line in (state.detail, *last_lines(stage, _LOG_LINES), str(stage.directory)):
            console.print(f"  [dim]{escape(line)}[/]", highlight=False)
