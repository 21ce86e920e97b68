"""``jepabench import``: read a dataset or a LeWM checkpoint of another library."""

from __future__ import annotations

import argparse
from pathlib import Path

from jepabench.cli.arguments import (
    DATASET_FORMATS,
    FRAME_SIDE,
    Columns,
    ExistingFolder,
    Folder,
    Task,
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "origin",
        help="folder of a LeRobot dataset, .h5 file or .lance folder of stable-worldmodel, or id "
        "of a local Minari dataset",
    )
    parser.add_argument("path", type=Folder(), help="folder of the new dataset")
    parser.add_argument(
        "--format",
        choices=(*DATASET_FORMATS, "lewm"),
        help="format, if it is not clear from the path; lewm is a checkpoint of stable-worldmodel",
    )
    parser.add_argument(
        "--task", type=Task(), help="task of the episodes; not needed for exports of jepabench"
    )
    parser.add_argument(
        "--behaviour", default="not stated", help="name of the policy that collected the data"
    )
    parser.add_argument("--split", default="train", choices=("train", "validation", "test"))
    parser.add_argument(
        "--columns",
        type=Columns(),
        default={},
        metavar="FIELD=COLUMN,...",
        help="names of columns that differ from their field, such as observation=state",
    )
    parser.add_argument(
        "--rate",
        choices=("control", "model"),
        help="whether a row is one control step or one model step, if the data do not state it",
    )
    parser.add_argument(
        "--dataset",
        type=ExistingFolder(),
        help="lewm: training data of the checkpoint, for the statistics of actions",
    )
    parser.add_argument(
        "--pixels",
        type=FRAME_SIDE,
        help="side length to which frames are resized (default: unchanged)",
    )


def run(options: argparse.Namespace) -> int:
    """Import the dataset and print its size."""
    if options.format == "lewm":
        return _import_checkpoint(options)
    from jepabench.envs.data.exchange.formats import import_dataset

    dataset = import_dataset(
        options.origin,
        options.path,
        format=options.format,
        task_id=options.task,
        behaviour=options.behaviour,
        split=options.split,
        columns=options.columns,
        rate=options.rate,
        pixels=options.pixels,
    )
    manifest = dataset.manifest
    print(
        f"{options.path}: {manifest.task_id}, {manifest.num_episodes} episodes, "
        f"{manifest.num_transitions} transitions, fingerprint {manifest.fingerprint}"
    )
    return 0


def _import_checkpoint(options: argparse.Namespace) -> int:
    """Import a LeWM of stable-worldmodel."""
    from jepabench.envs.data.episodes import EpisodeDataset
    from jepabench.world_models.lewm_import import import_lewm
    from jepabench.world_models.training.batches import ActionScale

    if options.task is None:
        raise ValueError("A checkpoint does not state its task. Name it with --task.")
    scale = None
    if options.dataset:
        scale = ActionScale.from_dataset(EpisodeDataset.open(options.dataset))
    source = Path(options.origin)
    import_lewm(source, options.path, task_id=options.task, scale=scale)
    print(f"{options.path}: LeWM for {options.task}")
    return 0
