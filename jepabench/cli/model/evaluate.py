"""``jepabench evaluate``: evaluate agents of a suite or a saved world model."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from jepabench.cli.arguments import add_settings
from jepabench.envs.errors import unknown_name
from jepabench.evaluation.records import read_records
from jepabench.evaluation.statistics.success_tables import score_table
from jepabench.execution.run_plan import run_plan
from jepabench.pipeline.checkpoints import find_checkpoint, write_table
from jepabench.pipeline.config import ConfigError
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.saved_model import agent_preset, evaluate_checkpoint
from jepabench.pipeline.stages import SuitePlan
from jepabench.pipeline.suite_report import score_suite
from jepabench.pipeline.terminal import make_console, rich_table
from jepabench.results.report.success_table import terminal_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(
        parser,
        help="agent=NAME[,NAME] suite=quick output=folder suite.KEY=VALUE; or checkpoint=NAME "
        "[agent=NAME strata=near,far episodes=20 split=test pixels=64 output=folder "
        "agent.KEY=VALUE]",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    if any(item.startswith("checkpoint=") for item in options.overrides):
        return _evaluate_checkpoint(options.overrides)
    if not any(item.startswith("agent=") for item in options.overrides):
        raise ConfigError(
            "Name what to evaluate: agent=NAME[,NAME] for agents of a suite, or checkpoint=NAME. "
            "`jepabench run` runs a whole suite."
        )
    console = make_console()
    config = compose_run(options.overrides)
    plan = SuitePlan(config)
    run_plan(config, console)

    console.print(terminal_table(score_suite(plan)))
    return 0


_SETTINGS = {
    "checkpoint": "",
    "agent": "",
    "strata": "",
    "episodes": "20",
    "split": "test",
    "pixels": "64",
    "output": "",
}


def _evaluate_checkpoint(overrides: list[str]) -> int:
    settings, changes = dict(_SETTINGS), []
    for item in overrides:
        key, separator, value = item.partition("=")
        if separator and key in settings:
            settings[key] = value
        elif separator and key.partition(".")[0] == "agent":
            changes.append(item)
        else:
            raise unknown_name(
                "setting of a checkpoint's evaluation", key, [*settings, "agent.KEY"]
            )
    if not all(
        settings[name].isdigit() and int(settings[name]) > 1 for name in ("episodes", "pixels")
    ):
        raise ConfigError(
            "episodes and pixels must be whole numbers of at least 2, "
            f"got {settings['episodes']} and {settings['pixels']}."
        )
    folder = find_checkpoint(settings["checkpoint"])

    with TemporaryDirectory() as temporary:
        directory = Path(settings["output"] or temporary)
        evaluate_checkpoint(
            folder,
            agent_preset(folder, settings["agent"] or None, changes),
            strata=[name for name in settings["strata"].split(",") if name],
            num_episodes=int(settings["episodes"]),
            split=settings["split"],
            pixels=int(settings["pixels"]),
            directory=directory,
        )
        table = score_table(read_records(directory / "episodes.parquet"))
    write_table(table, Path(settings["output"]) if settings["output"] else None, "table")
    shown = table.loc[:, list(_SHOWN)].rename(columns=_SHOWN)
    make_console().print(
        rich_table(
            shown,
            f"{settings['checkpoint']} on {table['task'].iloc[0]} "
            "(1 seed: intervals are over episodes)",
        )
    )
    return 0


_SHOWN = {
    "stratum": "stratum",
    "episodes": "episodes",
    "success_held": "held",
    "held_low": "low",
    "held_high": "high",
    "success_ever": "ever",
    "violation_rate": "violations",
    "ms_per_step": "ms/step",
    "model_steps": "model steps",
}
