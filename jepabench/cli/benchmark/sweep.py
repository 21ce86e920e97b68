"""``jepabench sweep``: run a suite on many workers, on this machine or on a cluster.

If it is interrupted, run the same command again to resume.
"""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import add_settings
from jepabench.execution.executor import StagesFailedError
from jepabench.execution.run_plan import check_run, run_plan
from jepabench.execution.status import print_status, save_sweep
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
from jepabench.pipeline.suite_report import score_suite
from jepabench.pipeline.terminal import make_console
from jepabench.results.report.success_table import terminal_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(
        parser,
        help="suite=core agent=a,b seed=0,1,2 agent.NAME.KEY=A,B num_workers=4 "
        "launcher=joblib|submitit|ray launcher.KEY=VALUE output=folder",
    )
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="accepted for Hydra users; has no effect"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the missing stages")


def run(options: argparse.Namespace) -> int:
    """Run the command; return 1 if a stage failed."""
    console, config = make_console(), compose_run(options.overrides)
    plan = SuitePlan(config)
    if options.dry_run:
        print_status(plan, console, every=True)
        return 0
    check_run(config, plan)
    save_sweep(config)
    problem = None
    try:
        run_plan(config, console)
    except StagesFailedError as error:  # raised after the table of finished stages
        problem = error

    if any((stage.directory / "done.json").exists() for stage in plan.evaluations):
        console.print(terminal_table(score_suite(plan)))
    if problem:
        raise problem
    console.print(
        f"`jepabench report {' '.join(options.overrides)}` writes the report page.",
        markup=False,
        soft_wrap=True,
    )
    return 0
