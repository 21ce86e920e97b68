"""``jepabench surprise``: measure whether a world model detects impossible events.

Harmless changes of the same scenes are the control.
"""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import FRAME_SIDE, Whole, add_common_arguments
from jepabench.pipeline.checkpoints import find_checkpoint, write_table
from jepabench.pipeline.terminal import make_console, rich_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common_arguments(parser, dataset=False)
    parser.add_argument(
        "--events",
        nargs="*",
        help="events (default: all, see `jepabench list events TASK`)",
    )
    parser.add_argument("--episodes", type=Whole(1), default=100)
    parser.add_argument(
        "--behaviour", help="scripted behaviour that acts (default: that of the task)"
    )
    parser.add_argument(
        "--pixels", type=FRAME_SIDE, default=64, help="side length of the frames in pixels"
    )
    parser.add_argument(
        "--untrained", type=Whole(0), default=3, help="number of untrained networks to compare with"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    folder = find_checkpoint(options.checkpoint)
    from tqdm import tqdm

    from jepabench.evaluation.model_checks.surprise import record_clips, surprise_table
    from jepabench.world_models.checkpoint import build_untrained, load_world_model

    loaded = load_world_model(folder)
    with tqdm(total=options.episodes, desc="episodes", unit="episode", leave=False) as bar:
        clips = record_clips(
            loaded.task_id,
            observation_key=loaded.model.observation_key,
            known=loaded.model.history,
            num_episodes=options.episodes,
            events=options.events,
            behaviour=options.behaviour,
            pixels=options.pixels,
            seed=options.seed,
            progress=bar.update,
        )
    table = surprise_table(
        loaded,
        clips,
        untrained=[build_untrained(folder, seed=seed) for seed in range(options.untrained)],
    )
    write_table(table, options.output, "surprise")
    title = "AUROC of surprise (1: always noticed, 0.5: not at all), 95 % over episodes"
    make_console().print(rich_table(table, title))
    return 0
