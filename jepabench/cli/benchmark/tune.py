"""``jepabench tune``: search the settings of an agent on a task with a fixed number of trials."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console

from jepabench.cli.arguments import add_settings
from jepabench.envs.data.files import atomic_write, write_atomically
from jepabench.evaluation.stages.costs import sum_spent
from jepabench.execution.run_plan import run_plan
from jepabench.pipeline.terminal import make_console
from jepabench.pipeline.tuning import (
    ROUND,
    TuningConfig,
    TuningRound,
    compose_tuning,
    nest,
    search_space,
    suggest,
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(
        parser,
        help="task=NAME agent=NAME trials=8 num_steps=N (training steps per trial) search_seed=0 "
        "suite.KEY=VALUE output=folder",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    config, console = compose_tuning(options.overrides), make_console()
    table, tuning = search(config, console)
    folder = config.directory
    best = table.loc[table["score"].idxmax()]
    with atomic_write(folder / "trials.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.4g")
    changes = nest(json.loads(best["changes"]))
    changes.setdefault("agent", {})["tuning"] = tuning  # counts as a cost of the agent
    write_atomically(folder / "best.yaml", yaml.safe_dump(changes, sort_keys=False))
    console.print(
        table.drop(columns="changes").to_string(index=False), markup=False, soft_wrap=True
    )
    console.print(
        f"Best: trial {best['trial']}, held {best['held']:.0%}: {best['changes']}",
        markup=False,
        soft_wrap=True,
    )
    console.print(
        f"All trials: {folder / 'trials.csv'}; "
        f"the best settings as overrides of a suite: {folder / 'best.yaml'}",
        markup=False,
        soft_wrap=True,
    )
    return 0


def search(config: TuningConfig, console: Console) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run the missing trials of a search.

    Returns:
        One row per trial, and the cost of all trials: data, training and validation episodes.
    """
    space, rows = search_space(config.agent), []
    stages: dict[Path, str] = {}
    for first in range(0, config.trials, ROUND):
        asked: list[dict[str, Any]] = []
        for number in range(first, min(first + ROUND, config.trials)):
            tried = [row["changes"] for row in rows] + [json.dumps(changes) for changes in asked]
            changes = suggest(space, rows, tried, seed=config.search_seed, number=number)
            if changes is not None:
                asked.append(changes)
        if not asked:
            break  # all combinations of values were tried
        trials = replace(config, first=first, asked=asked)
        run_plan(trials, console, kind=TuningRound)
        done = TuningRound(trials)
        rows += done.rows()
        stages |= done.trained_stages
    spent = sum_spent((key, folder) for folder, key in stages.items())
    spent.transitions += sum(row["evaluation_steps"] for row in rows)
    return pd.DataFrame(rows), spent.as_tuning()
