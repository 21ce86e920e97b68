"""``jepabench status``: show which stages are done, running, failed (and why) or missing."""

from __future__ import annotations

import argparse
import json

from jepabench.cli.arguments import add_settings
from jepabench.execution.status import (
    count_failures,
    describe_status,
    load_sweeps,
    print_status,
    read_states,
)
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
from jepabench.pipeline.terminal import make_console


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(
        parser,
        help="settings of `jepabench run` or `sweep`; without suite=, all runs below output=",
    )
    parser.add_argument(
        "--all", action="store_true", help="also list stages that are done, interrupted or missing"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: one object per sweep with all its stages"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; return 1 if a stage failed."""
    plans = _find_plans(options.overrides)
    states = [read_states(plan) for plan in plans]
    if options.json:
        print(json.dumps([describe_status(*pair) for pair in zip(plans, states, strict=True)]))
    else:
        console = make_console()
        for plan, found in zip(plans, states, strict=True):
            print_status(plan, console, states=found, every=options.all)
    return 1 if any(map(count_failures, states)) else 0


def _find_plans(overrides: list[str]) -> list[SuitePlan]:
    """Return the plan of the suite in ``overrides``, or else those of all sweeps of the output."""
    config = compose_run(overrides)
    if not any(item.startswith("suite=") for item in overrides):
        return load_sweeps(config) or [SuitePlan(config)]
    return [SuitePlan(config)]
