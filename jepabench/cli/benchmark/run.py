"""``jepabench run``: run a suite, from data collection to the report."""

from __future__ import annotations

import argparse
import time

import yaml
from rich.markup import escape

from jepabench.cli.arguments import add_settings
from jepabench.execution.run_plan import run_plan
from jepabench.pipeline.config import load_preset
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
from jepabench.pipeline.suite_report import build_report
from jepabench.pipeline.terminal import make_console

_SETTINGS = (
    "suite=quick, agent=a,b and seed=0,1 (only these), output=folder, num_workers=4, "
    "suite.KEY=VALUE"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(parser, help=_SETTINGS)
    parser.add_argument(
        "--show", action="store_true", help="print the composed configuration and stop"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    config = compose_run(options.overrides)
    suite = config.suite
    if options.show:
        shown = {
            **config.as_config(),
            "agents": {name: load_preset("agent", name) for name in suite.agents},
        }
        print(yaml.safe_dump(shown, sort_keys=False), end="")
        return 0
    console, began = make_console(), time.monotonic()
    title = f"{escape(suite.name)}[/] v{suite.version}: {escape(suite.description)}"
    console.print(f"[bold]{title}")
    plan = SuitePlan(config)
    run_plan(config, console)
    page = build_report(plan, console, options.overrides)
    console.print(
        f"Report: {page}   ({time.monotonic() - began:.0f} s in all)", markup=False, soft_wrap=True
    )
    return 0
