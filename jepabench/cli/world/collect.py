"""``jepabench collect``: a dataset of a task."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("task", help="task id, e.g. jepabench/TwoRoom-v1")
    parser.add_argument("path", type=Path, help="folder of the dataset; continued if half done")
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--steps", type=int, default=30, help="model steps an episode")
    parser.add_argument("--behaviour", help="of the task (its default if not given), or curiosity")
    parser.add_argument(
        "--world-model",
        type=Path,
        metavar="DIR",
        help="ensemble that curiosity asks what it does not know",
    )
    parser.add_argument("--split", default="train", choices=("train", "validation", "test"))
    parser.add_argument("--pixels", type=int, default=64, help="side of the frames, 0 for none")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--export-minari", metavar="ID", help="also write it as a Minari dataset with this id"
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb."""
    from jepabench.envs.data.collect import collect

    behaviour = options.behaviour
    if (behaviour == "curiosity") != (options.world_model is not None):
        raise ValueError(
            "--behaviour curiosity and --world-model go together: train one of kind ensemble."
        )
    if options.world_model:
        from jepabench.agents.curiosity import CuriousBehaviour

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
        from jepabench.envs.data.minari import export_minari

        export_minari(dataset, options.export_minari)
        print(f"Minari dataset {options.export_minari}")
    return 0
