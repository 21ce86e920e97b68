"""``jepabench collect``: collect a dataset from a task."""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import Folder, FrameSide, HubFolder, Task, Whole


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("task", type=Task(), help="name of the task, such as TwoRoom")
    parser.add_argument(
        "path",
        type=Folder(),
        help="folder of the dataset; an interrupted collection is resumed",
    )
    parser.add_argument("--episodes", type=Whole(1), default=500, help="number of episodes (500)")
    parser.add_argument(
        "--steps", type=Whole(1), default=30, help="length of an episode in model steps (30)"
    )
    parser.add_argument(
        "--behaviour",
        help="scripted behaviour of the task (default: that of its suites), or curiosity",
    )
    parser.add_argument(
        "--world-model",
        type=HubFolder("checkpoint"),
        metavar="DIR",
        help="curiosity: world model of kind ensemble, whose disagreement is maximised",
    )
    parser.add_argument("--split", default="train", choices=("train", "validation", "test"))
    parser.add_argument(
        "--pixels",
        type=FrameSide(optional=True),
        default=64,
        help="side length of the recorded frames in pixels (64); 0 for no frames",
    )
    parser.add_argument("--workers", type=Whole(1, 4096), default=2, help="number of processes (2)")
    parser.add_argument(
        "--export-minari", metavar="ID", help="also export the dataset to Minari under this id"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from jepabench.envs.data.collect import collect

    behaviour = options.behaviour
    if (behaviour == "curiosity") != (options.world_model is not None):
        raise ValueError(
            "--behaviour curiosity needs --world-model DIR, and --world-model is only for it. "
            "Train a world model of kind ensemble first."
        )
    if options.world_model:
        from jepabench.agents.collection.curiosity import CuriousBehaviour

        behaviour = CuriousBehaviour(options.world_model)
    dataset = collect(
        options.task,
        options.path,
        num_episodes=options.episodes,
        num_steps=options.steps,
        behaviour=behaviour,
        split=options.split,
        pixels=options.pixels or None,
        num_workers=options.workers,
    )
    manifest = dataset.manifest
    print(
        f"{options.path}: {manifest.num_episodes} episodes, {manifest.num_frames} frames, "
        f"fingerprint {manifest.fingerprint}"
    )
    if options.export_minari:
        from jepabench.envs.data.exchange.minari import export_minari

        export_minari(dataset, options.export_minari)
        print(f"Exported to Minari as {options.export_minari}")
    return 0
