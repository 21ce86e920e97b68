"""``jepabench sweep``: a suite on many workers, on this machine or a cluster; killed and started again it goes on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from jepabench.cli.benchmark.report import score_suite
from jepabench.cli.benchmark.run import do_stages, suite_root
from jepabench.envs.files import write_atomically
from jepabench.evaluation.stages.stage import stage_id
from jepabench.execution.executor import StagesFailedError
from jepabench.pipeline.stages import SuitePlan


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        help="suite=core agent=a,b seed=0,1,2 num_workers=4 launcher=joblib|submitit|ray launcher.KEY=VALUE output=folder",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what is missing, and stop")


def run(options: argparse.Namespace) -> int:
    """Runs the verb; exit code 1 if a stage failed."""
    console, root = Console(), suite_root(options.overrides)
    plan = SuitePlan(root)
    if options.dry_run:
        from jepabench.cli.benchmark.status import print_status

        print_status(plan, console, every=True)
        return 0
    remember(root)
    problem = None
    try:
        do_stages(root, console)
    except StagesFailedError as error:  # the table of what is done comes first
        problem = error
    from jepabench.results.report.success_table import terminal_table

    if any((stage.directory / "done.json").exists() for stage in plan.evaluations):
        console.print(terminal_table(score_suite(plan)))
    if problem:
        raise problem
    console.print(f"`jepabench report {' '.join(options.overrides)}` makes the page.")
    return 0


def remember(root: dict) -> None:
    """Notes what was asked for below the output folder, so that ``jepabench status`` knows what is missing."""
    folder = Path(root["output"]) / "sweeps"
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        key: value
        for key, value in root.items()
        if key not in ("output", "launcher", "num_workers")
    }
    path = folder / f"{root['suite']['name']}-{stage_id(asked)[:8]}.json"
    write_atomically(path, json.dumps(asked, indent=2) + "\n")
