"""``jepabench generalize``: evaluate an agent under one change of the world at a time.

A random agent is evaluated under the same changes.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from jepabench.cli.arguments import FRAME_SIDE, Folder, Whole, add_checkpoint
from jepabench.pipeline.checkpoints import find_checkpoint, write_table
from jepabench.pipeline.saved_model import agent_preset, build_agent, read_task_id
from jepabench.pipeline.terminal import make_console, rich_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_checkpoint(parser)
    parser.add_argument("--agent", help="preset that plans with it, see `jepabench list agents`")
    parser.add_argument(
        "--factors", nargs="*", help="by default all, see `jepabench list variations TASK`"
    )
    parser.add_argument("--levels", nargs="*", default=["mild", "hard"], choices=("mild", "hard"))
    parser.add_argument("--strata", nargs="*", help="by default the nearest")
    parser.add_argument("--episodes", type=Whole(2), default=20, help="episodes a stratum")
    parser.add_argument("--pixels", type=FRAME_SIDE, default=64, help="side of the frames")
    parser.add_argument(
        "--output",
        type=Folder(),
        default=Path("generalization"),
        help="folder; what is done is not done again",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    folder = find_checkpoint(options.checkpoint)
    from tqdm import tqdm

    from jepabench.agents.base import RandomAgent
    from jepabench.envs.registry import get_task
    from jepabench.envs.splits import episode_specs
    from jepabench.evaluation.model_checks.generalization import (
        Change,
        generalization_table,
        list_changes,
    )
    from jepabench.evaluation.rollout import evaluate_episodes
    from jepabench.evaluation.stages.stage import run_stage
    from jepabench.evaluation.traces import load_evaluation, save_evaluation
    from jepabench.world_models.checkpoint import load_world_model

    task = get_task(read_task_id(folder))
    preset = agent_preset(folder, options.agent)
    specs = episode_specs(
        task.id, "test", options.episodes, strata=tuple(options.strata or task.strata[:1])
    )
    changes = list_changes(task.id, factors=options.factors, levels=options.levels)
    fingerprint = load_world_model(folder).metadata.get("dataset_fingerprint", str(folder))
    agents = {
        preset["name"]: partial(build_agent, preset, folder, task.id),
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

    outcomes = {name: {} for name in agents}
    with tqdm(
        total=len(changes) * len(agents), desc="changes", unit="evaluation", leave=False
    ) as bar:
        for change in changes:
            for name in agents:
                config = {
                    "task": task.id,
                    "agent": preset if name != "random" else name,
                    "checkpoint": str(folder),
                    "dataset": fingerprint,
                    "variation": change.variation,
                    "pixels": options.pixels,
                    "episodes": [spec.key for spec in specs],
                }
                directory = (
                    options.output / "evaluations" / name / f"{change.factor}-{change.level}"
                )
                run_stage(directory, config, partial(evaluate, name, change))
                outcomes[name][change] = load_evaluation(directory).records
                bar.update()
    table = generalization_table(outcomes[preset["name"]], outcomes["random"])
    write_table(table, options.output, "generalization")
    make_console().print(
        rich_table(
            table, f"{preset['name']} on {task.id}, one change at a time (held success; 1 seed)"
        )
    )
    return 0
