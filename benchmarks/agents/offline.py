"""Compare offline methods on the data of the world models: the table of ``suite=offline``.

    python benchmarks/agents/offline.py                                     everything
    python benchmarks/agents/offline.py --tasks PushT-v1 --agents gciql     a part
    python benchmarks/agents/offline.py pixels=null --agents gcbc           any suite setting

Data, policies and evaluations are the stages of `jepabench run suite=offline`; finished stages are
skipped. Each row of ``results/tables/offline.csv`` covers one stratum, or all strata of a task
(``all``). Other rows stay unchanged.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console
from tables import TABLES, write_rows

from jepabench.envs.task import short_name
from jepabench.evaluation.records import read_records
from jepabench.evaluation.stages.stage import is_done
from jepabench.evaluation.statistics.scaling import COSTS, pool_strata
from jepabench.evaluation.statistics.success_tables import score_table
from jepabench.execution.executor import run_stages
from jepabench.execution.launchers import JoblibLauncher
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan

RELATIVE = ("normalised", "tied_with_best")  # relative to the other rows of the run


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="settings, as in `jepabench run`")
    parser.add_argument("--tasks", nargs="*", help="short names; default: all tasks of the suite")
    parser.add_argument("--agents", nargs="*", help="presets; default: all agents of the suite")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), help="output folder, as in `jepabench run`"
    )
    parser.add_argument("--tables", type=Path, default=TABLES, help="folder of the CSV file")
    options = parser.parse_args()
    config = compose_run(
        ["suite=offline", f"output={options.output.resolve()}", "num_workers=1", *options.overrides]
    )
    make_plan = partial(SuitePlan, config)
    plan = make_plan()
    only = [
        stage.key
        for stage in plan.evaluations
        if short_name(stage.config["task_id"])
        in (options.tasks or [short_name(stage.config["task_id"])])
        and stage.config["agent"]["name"] in (options.agents or config.suite.agents)
    ]
    if not only:
        parser.error("the suite evaluates no such agent on no such task; see --tasks and --agents")
    run_stages(make_plan, launcher=JoblibLauncher(1), console=Console(), only=only)
    table = offline_table(plan)
    write_rows(
        options.tables / "offline.csv", table.to_dict("records"), ["task", "stratum", "agent"]
    )
    shown = ["task", "agent", "success_held", "held_low", "held_high", "success_ever"]
    print(table.query("stratum == 'all'")[shown].to_string(index=False))


def offline_table(plan: SuitePlan) -> pd.DataFrame:
    """Return the table of the finished evaluations."""
    done = [stage for stage in plan.evaluations if is_done(stage.directory, stage.config)]
    records = pd.concat(
        [read_records(stage.directory / "episodes.parquet") for stage in done], ignore_index=True
    )
    table = score_table(
        pd.concat([records, pool_strata(records)], ignore_index=True),
    )
    keys = [(stage.config["task_id"], stage.config["agent"]["name"]) for stage in done]
    costs = {
        key: json.loads((stage.directory / "cost.json").read_text(encoding="utf-8"))
        for key, stage in zip(keys, done, strict=True)
    }
    for column in COSTS:
        table[column] = [
            costs[key][column] for key in zip(table["task"], table["agent"], strict=True)
        ]
    return table.drop(columns=list(RELATIVE))


if __name__ == "__main__":
    main()
