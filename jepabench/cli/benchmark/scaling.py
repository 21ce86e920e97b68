"""``jepabench scaling``: plot success against environment transitions for planners and policies."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jepabench.cli.arguments import add_settings
from jepabench.envs.data.files import write_atomically
from jepabench.envs.task import short_name
from jepabench.execution.run_plan import check_run, run_plan
from jepabench.execution.status import save_sweep
from jepabench.pipeline.scaling import ScalingPlan, collect_table, compose_scaling
from jepabench.pipeline.terminal import add_text_row, make_console, make_table

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(
        parser,
        help="task=NAME[,NAME] agent=NAME[,NAME] budgets=1000,3000 model_transitions=30000 "
        "suite.KEY=VALUE output=folder",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    console = make_console()
    config = compose_scaling(options.overrides)
    plan = ScalingPlan(config)
    check_run(config, plan)
    save_sweep(config)
    run_plan(config, console, kind=ScalingPlan)
    from jepabench.results.report.scaling_figure import scaling_figure
    from jepabench.results.report.success_table import write_table

    table = collect_table(plan)
    write_table(plan.suite_directory / "scaling.csv", table)
    for task, rows in table.groupby("task", sort=False):
        write_atomically(
            plan.suite_directory / f"{short_name(str(task))}.svg", scaling_figure(rows)
        )
    console.print(_terminal_table(table))
    console.print(f"Table and figures: {plan.suite_directory}", markup=False, soft_wrap=True)
    return 0


def _terminal_table(table: pd.DataFrame) -> Table:
    shown = make_table(
        *("task", "agent", "transitions", "held", "95 %", "train s", "ms/step"), title="All strata"
    )
    for row in table.query("stratum == 'all'").to_dict("records"):
        add_text_row(
            shown,
            short_name(row["task"]),
            row["agent"],
            f"{row['transitions']:,.0f}",
            f"{row['success_held']:.0%}",
            f"{row['held_low']:.0%} to {row['held_high']:.0%}",
            f"{row['train_seconds']:.0f}",
            f"{row['ms_per_step']:.2f}",
        )
    return shown
