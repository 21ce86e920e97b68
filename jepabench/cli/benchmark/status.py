"""``jepabench status``: what is done, running, failed and why, and missing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from jepabench.execution.status import print_status
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
from jepabench.pipeline.terminal import make_console


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        help="settings of `jepabench run` or `sweep`; without suite=, all sweeps below output=",
    )
    parser.add_argument(
        "--all", action="store_true", help="also name what is done, interrupted and missing"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; exit code 1 if something failed."""
    console, failed = make_console(), 0
    root = compose_run(options.overrides)
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
