"""``jepabench generalize``: evaluate an agent under one change of the world at a time.

A random agent is evaluated under the same changes.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jepabench.cli.arguments import FRAME_SIDE, Folder, Whole, add_checkpoint
from jepabench.envs.registry import get_task
from jepabench.envs.splits import episode_specs
from jepabench.pipeline.checkpoints import find_checkpoint, write_table
from jepabench.pipeline.saved_model import agent_preset, build_agent, read_task_id
from jepabench.pipeline.terminal import make_console, rich_table

if TYPE_CHECKING:
    from jepabench.evaluation.model_checks.generalization import Change
    from jepabench.evaluation.records import EpisodeRecord
    from jepabench.pipeline.schema import AgentPreset


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_checkpoint(parser)
    parser.add_argument("--agent", help="agent preset, see `jepabench list agents`")
    parser.add_argument(
        "--factors", nargs="*", help="factors (default: all, see `jepabench list variations TASK`)"
    )
    parser.add_argument("--levels", nargs="*", default=["mild", "hard"], choices=("mild", "hard"))
    parser.add_argument("--strata", nargs="*", help="strata (default: the first one of the task)")
    parser.add_argument("--episodes", type=Whole(2), default=20, help="episodes per stratum (20)")
    parser.add_argument(
        "--pixels", type=FRAME_SIDE, default=64, help="side length of the frames in pixels"
    )
    parser.add_argument(
        "--output",
        type=Folder(),
        default=Path("generalization"),
        help="folder of the results; finished evaluations are not repeated",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    folder = find_checkpoint(options.checkpoint)
    from jepabench.evaluation.model_checks.generalization import generalization_table, list_changes

    task_id = read_task_id(folder)
    preset = agent_preset(folder, options.agent)
    changes = list_changes(task_id, factors=options.factors, levels=options.levels)
    outcomes = _evaluate(folder, preset, changes, options)
    table = generalization_table(outcomes[preset.name], outcomes["random"])
    write_table(table, options.output, "generalization")
    make_console().print(
        rich_table(
            table, f"{preset.name} on {task_id}, one change at a time (held success; 1 seed)"
        )
    )
    return 0


def _evaluate(
    folder: Path, preset: AgentPreset, changes: Sequence[Change], options: argparse.Namespace
) -> dict[str, dict[Change, Sequence[EpisodeRecord]]]:
    """Return the records of the preset's agent and of a random one under each change.

    Finished evaluations below ``options.output`` are not repeated.
    """
    from tqdm import tqdm

    from jepabench.agents.base import RandomAgent
    from jepabench.evaluation.rollout import evaluate_episodes
    from jepabench.evaluation.stages.stage import run_stage
    from jepabench.evaluation.traces import load_evaluation, save_evaluation
    from jepabench.world_models.checkpoint import load_world_model

    task = get_task(read_task_id(folder))
    strata = tuple(options.strata or task.strata[:1])
    specs = episode_specs(task.id, "test", options.episodes, strata=strata)
    fingerprint = load_world_model(folder).metadata.get("dataset_fingerprint", str(folder))
    agents = {
        preset.name: partial(build_agent, preset, folder, task.id),
        "random": partial(RandomAgent, task_id=task.id),
    }

    def evaluate(name: str, change: Change, directory: Path) -> None:
        evaluation = evaluate_episodes(
            agents[name](),
            specs,
            agent_name=name,
            pixels=options.pixels,
            variation=change.variation,
        )
        save_evaluation(directory, evaluation)

    outcomes: dict[str, dict[Change, Sequence[EpisodeRecord]]] = {name: {} for name in agents}
    pairs = list(itertools.product(changes, agents))
    for change, name in tqdm(pairs, desc="changes", unit="evaluation", leave=False):
        config = {
            "task": task.id,
            "agent": preset.as_config() if name != "random" else name,
            "checkpoint": str(folder),
            "dataset": fingerprint,
            "variation": change.variation,
            "pixels": options.pixels,
            "episodes": [spec.key for spec in specs],
        }
        place = f"{change.factor}-{change.level}"
        directory = options.output / "evaluations" / name / place
        run_stage(directory, config, partial(evaluate, name, change))
        outcomes[name][change] = load_evaluation(directory).records
    return outcomes
