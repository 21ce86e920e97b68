"""Show the states of the stages of a plan, and save sweeps for `jepabench status`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jepabench.envs.data.files import write_atomically
from jepabench.evaluation.stages.stage import StageState, stage_id, stage_state
from jepabench.execution.executor import last_line, last_lines
from jepabench.pipeline.config import ConfigError
from jepabench.pipeline.schema import RunConfig
from jepabench.pipeline.stages import KINDS, Stage, SuitePlan

STATES = ("done", "running", "failed", "interrupted", "missing")
_LOG_LINES = 5


def read_states(plan: SuitePlan) -> dict[str, StageState]:
    """Return the state of each stage of a plan, by key."""
    return {key: stage_state(stage.directory, stage.config) for key, stage in plan.stages.items()}


def count_failures(states: Mapping[str, StageState]) -> int:
    """Return the number of failed stages."""
    return sum(state.name == "failed" for state in states.values())


def describe_status(plan: SuitePlan, states: Mapping[str, StageState]) -> dict[str, Any]:
    """Return the states of the stages of a plan as a JSON object."""
    suite = plan.suite
    return {
        "suite": suite.name,
        "version": suite.version,
        "output": str(plan.output),
        "training_seeds": list(suite.training_seeds),
        "stages": [
            {
                "stage": key,
                "title": plan.stages[key].title,
                "state": state.name,
                "detail": state.detail,
                "directory": str(plan.stages[key].directory),
            }
            for key, state in states.items()
        ],
    }


def print_status(
    plan: SuitePlan,
    console: Console,
    *,
    states: Mapping[str, StageState] | None = None,
    every: bool = False,
) -> None:
    """Print how many stages of a plan are in each state, and describe some of the stages.

    Args:
        plan: Plan with the stages.
        console: Console on which the states are printed.
        states: Result of ``read_states``, which is called by default.
        every: Whether to describe all stages instead of only running and failed ones.
    """
    states, suite = states or read_states(plan), plan.suite
    seeds = ", ".join(map(str, suite.training_seeds))
    console.print(
        f"[bold]{escape(suite.name)}[/] v{suite.version} in {escape(str(plan.output))}, "
        f"training seeds {seeds}"
    )
    table = Table("stages", *STATES, box=None)
    for kind in KINDS:
        counts = Counter(state.name for key, state in states.items() if key.startswith(f"{kind}/"))
        if counts:
            table.add_row(kind, *(str(counts[name] or "-") for name in STATES))
    console.print(table)
    for key, state in states.items():
        if state.name in ("running", "failed") or every:
            _print_stage(plan.stages[key], state, console)


def _print_stage(stage: Stage, state: StageState, console: Console) -> None:
    colour = {"done": "green", "running": "cyan", "failed": "red"}.get(state.name, "dim")
    console.print(f"[{colour}]{state.name}[/] {escape(stage.title)}", highlight=False)
    if state.name == "running":
        console.print(
            f"  [dim]{escape(state.detail)}  {escape(last_line(stage))}[/]", highlight=False
        )
    if state.name == "failed":
        for line in (state.detail, *last_lines(stage, _LOG_LINES), str(stage.directory)):
            console.print(f"  [dim]{escape(line)}[/]", highlight=False)


def load_sweeps(config: RunConfig) -> list[SuitePlan]:
    """Return the plans that ``save_sweep`` saved below the output folder of a run.

    Raises:
        ConfigError: A saved file is damaged.
    """
    files = sorted((config.output / "sweeps").glob("*.json"))
    return [_load_sweep(config, path) for path in files]


def _load_sweep(config: RunConfig, path: Path) -> SuitePlan:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        damaged = "" if isinstance(saved.get("suite"), dict) else "it has no suite"
    except (ValueError, AttributeError) as error:
        saved, damaged = {}, str(error)
    if damaged:
        raise ConfigError(
            f"{path} is not a saved sweep: {damaged}. Delete it, and run the sweep again."
        )
    described = {**config.as_config(), **saved}
    if "budgets" not in saved:
        return SuitePlan(RunConfig.from_config(described))
    from jepabench.pipeline.scaling import ScalingConfig, ScalingPlan

    return ScalingPlan(ScalingConfig.from_config(described))


def save_sweep(config: RunConfig) -> None:
    """Save the configuration of a sweep or scaling run for ``jepabench status`` and ``watch``."""
    folder = config.output / "sweeps"
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        key: value
        for key, value in config.as_config().items()
        if key not in ("output", "launcher", "num_workers", "tracker")
    }
    path = folder / f"{config.suite.name}-{stage_id(asked)[:8]}.json"
    write_atomically(path, json.dumps(asked, indent=2) + "\n")
