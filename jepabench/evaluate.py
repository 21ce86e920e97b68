"""``jepabench evaluate``: one or more agents of a suite, with whatever they need."""

from __future__ import annotations

import argparse

from rich.console import Console

from jepabench.executor import run_stages
from jepabench.report import score_suite
from jepabench.run import suite_root
from jepabench.stages import SuitePlan


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("overrides", nargs="*", help="agent=NAME[,NAME] suite=quick output=folder suite.KEY=VALUE")


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    console = Console()
    root = suite_root(options.overrides)
    plan = SuitePlan(root)
    run_stages(plan, num_workers=root["num_workers"], console=console)
    from results.tables import terminal_table

    console.print(terminal_table(score_suite(plan)))
    return 0
