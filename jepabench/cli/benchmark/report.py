"""``jepabench report``: build the report of a suite from its finished evaluations."""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import add_settings
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
from jepabench.pipeline.suite_report import build_report
from jepabench.pipeline.terminal import make_console


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(parser, help="suite=quick output=folder, as given to `jepabench run`")


def run(options: argparse.Namespace) -> int:
    """Write the report and print its path."""
    console = make_console()
    plan = SuitePlan(compose_run(options.overrides))
    page = build_report(plan, console, options.overrides)
    console.print(f"Report: {page}", markup=False, soft_wrap=True)
    return 0
