"""``jepabench export``: write a dataset for Minari, LeRobot or stable-worldmodel."""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import DATASET_FORMATS, HubFolder


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "dataset", type=HubFolder("dataset"), help="folder of a dataset, or hf://user/name"
    )
    parser.add_argument(
        "target", help="new folder (lerobot, lance), new file (hdf5), or Minari id (minari)"
    )
    parser.add_argument(
        "--format", choices=DATASET_FORMATS, help="required unless the target ends in .h5 or .lance"
    )
    parser.add_argument(
        "--video",
        action="store_true",
        help="write frames as lossy H.264 videos instead of PNG (lerobot only)",
    )


def run(options: argparse.Namespace) -> int:
    """Export the dataset."""
    from jepabench.envs.data.episodes import EpisodeDataset
    from jepabench.envs.data.exchange.formats import export_dataset

    dataset = EpisodeDataset.open(options.dataset)
    export_dataset(dataset, options.target, format=options.format, video=options.video)
    print(f"{options.target}: {len(dataset)} episodes")
    return 0
