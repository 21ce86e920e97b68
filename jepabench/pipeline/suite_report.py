"""Compute the scores of a suite and write its report from the finished evaluations of a plan."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from jepabench.envs.data.files import write_atomically
from jepabench.envs.task import short_name
from jepabench.evaluation.machine import describe_machine
from jepabench.evaluation.records import read_records
from jepabench.evaluation.references import Track, find_track
from jepabench.evaluation.stages.stage import is_done
from jepabench.evaluation.statistics.success_tables import pivot_outcomes, score_table
from jepabench.pipeline.stages import SuitePlan
from jepabench.results.report.page import write_report
from jepabench.results.report.success_table import terminal_table, write_table

# Settings that do not change the results.
_PLACES = ("output", "num_workers", "launcher", "tracker")


def build_report(plan: SuitePlan, console: Console, settings: Sequence[str] = ()) -> Path:
    """Write ``table.csv`` and the report, print the table, and return the page.

    Args:
        plan: Plan of the suite.
        console: Console on which the table is printed.
        settings: ``KEY=VALUE`` arguments of the plan. The report shows the command that reproduces
            it.
    """
    if plan.measure != "success":
        return _report_model_checks(plan, console)
    table = score_suite(plan)
    write_table(plan.suite_directory / "table.csv", table)
    console.print(terminal_table(table))
    for sentence in describe_suspicions(plan):
        console.print(sentence, style="yellow", markup=False, highlight=False)
    suite = plan.suite
    described = {
        "name": suite.name,
        "version": suite.version,
        "description": suite.description,
        "tasks": [{"task_id": task.task_id, "strata": task.strata} for task in suite.tasks],
        "training_seeds": suite.training_seeds,
        "split": suite.split,
        "agents": [agent.name for agent in plan.agents.values()],
        "tracks": {agent.name: _track(agent.track) for agent in plan.agents.values()},
        "command": describe_command(settings or [f"suite={suite.name}"]),
    }
    return write_report(
        plan.suite_directory,
        suite=described,
        machine=describe_machine(),
        directories={stage.directory for stage in plan.evaluations},
    )


def describe_command(settings: Sequence[str]) -> str:
    """Return the command that repeats a run, quoted for a shell.

    Settings that do not change results, such as folders and workers, are left out.
    """
    kept = [item for item in settings if item.partition("=")[0].partition(".")[0] not in _PLACES]
    return shlex.join(["jepabench", "run", *kept])


def score_suite(plan: SuitePlan) -> pd.DataFrame:
    """Return the table of the finished evaluations of a suite."""
    parts, costs = [], {}
    for stage in plan.stages.values():
        if not stage.key.startswith("evaluation/") or not (stage.directory / "done.json").exists():
            continue
        parts.append(read_records(stage.directory / "episodes.parquet"))
        costs[stage.config["task_id"], stage.config["agent"]["name"]] = json.loads(
            (stage.directory / "cost.json").read_text(encoding="utf-8")
        )
    if not parts:
        raise ValueError(
            f"Nothing is evaluated yet in {plan.suite_directory}. "
            f"Run `jepabench run suite={plan.suite.name}`."
        )
    table = score_table(pd.concat(parts, ignore_index=True), tracks=_known_tracks(plan))
    for column in ("transitions", "train_seconds", "parameters"):
        table[column] = [
            costs[key][column] for key in zip(table["task"], table["agent"], strict=True)
        ]
    return table


def _known_tracks(plan: SuitePlan) -> dict[str, Track]:
    tracks = {agent.name: find_track(agent.track) for agent in plan.agents.values()}
    return {name: track for name, track in tracks.items() if track}


def describe_suspicions(plan: SuitePlan) -> list[str]:
    """Return a sentence about each suspicious row of a plan's finished evaluations."""
    from jepabench.evaluation.statistics.suspicions import Row, find_suspicions

    outcomes: dict[str, dict[tuple[str, str], Any]] = {name: {} for name in _known_tracks(plan)}
    records = [
        read_records(stage.directory / "episodes.parquet")
        for stage in plan.evaluations
        if (stage.directory / "done.json").exists()
    ]
    for key, group in pd.concat(records).groupby(["agent", "task_id", "stratum"], sort=False):
        agent, task, stratum = map(str, key)  # pyright: ignore[reportArgumentType]
        if agent in outcomes:
            outcomes[agent][task, stratum] = pivot_outcomes(group)
    rows = [
        Row(name=name, agent=name, track=track, outcomes=outcomes[name])
        for name, track in _known_tracks(plan).items()
    ]
    return [f"Suspicious: {found.name}. {found.reason}" for found in find_suspicions(rows)]


def read_finished_records(plan: SuitePlan) -> pd.DataFrame:
    """Return the records of the evaluations of a plan.

    Two columns are added: ``directory`` and ``episode``, a name that is unique across tasks.

    Raises:
        ValueError: An evaluation of the plan is not done.
    """
    parts = []
    for stage in plan.evaluations:
        if not is_done(stage.directory, stage.config, thorough=True):
            raise ValueError(
                f"Not done yet: {stage.title}. "
                f"`jepabench status suite={plan.suite.name}` shows the finished stages."
            )
        parts.append(
            read_records(stage.directory / "episodes.parquet").assign(
                directory=str(stage.directory)
            )
        )
    records = pd.concat(parts, ignore_index=True)
    return records.assign(
        episode=records["task_id"] + "|" + records["stratum"] + "|" + records["index"].astype(str)
    )


def _report_model_checks(plan: SuitePlan, console: Console) -> Path:
    """Print and write the table of a suite that measures generalization or surprise."""
    from jepabench.pipeline.terminal import rich_table
    from jepabench.results.report.model_tables import changes_table, surprises_table

    done = [stage for stage in plan.stages.values() if (stage.directory / "done.json").exists()]
    if plan.measure == "surprise":
        tables = {
            (
                short_name(stage.config["task_id"]),
                stage.config["agent"]["name"],
                stage.config["seed"],
            ): pd.read_csv(stage.directory / "surprise.csv")
            for stage in done
            if stage.key.startswith("surprise/")
        }
        table = surprises_table(tables) if tables else None
    else:
        records = [
            read_records(stage.directory / "episodes.parquet").assign(**stage.config["change"])
            for stage in done
            if stage.key.startswith("change/")
        ]
        table = changes_table(pd.concat(records, ignore_index=True)) if records else None
    if table is None:
        raise ValueError(
            f"Nothing is measured yet in {plan.suite_directory}. "
            f"Run `jepabench run suite={plan.suite.name}`."
        )
    console.print(rich_table(table, f"{plan.suite.name}: {plan.suite.description}"))
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return write_atomically(plan.suite_directory / f"{plan.measure}.csv", text.encode())


def _track(track: Mapping[str, str]) -> str:
    if track["privilege"] != "none":
        return f"sees the {track['privilege']}"
    return f"{track['observation']}, {track['data']}" if track["observation"] != "none" else "blind"
