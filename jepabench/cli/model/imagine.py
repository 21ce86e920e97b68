"""``jepabench imagine``: draw decoded predictions of a world model above the real frames."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from jepabench.cli.arguments import SEED, Folder, HubFolder, Whole, add_checkpoint
from jepabench.pipeline.checkpoints import find_checkpoint

_DECODER_STEPS = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_checkpoint(parser)
    parser.add_argument(
        "dataset", type=HubFolder("dataset"), help="held-out episodes of the same task, with frames"
    )
    parser.add_argument(
        "--output",
        type=Folder(),
        default=Path("imagined"),
        help="folder for imagined.png and imagined.gif",
    )
    parser.add_argument("--steps", type=Whole(1), default=8, help="model steps to imagine")
    parser.add_argument("--episodes", type=Whole(1), default=4, help="number of futures to show")
    parser.add_argument(
        "--decoder-steps",
        type=Whole(0),
        default=0,
        help=f"gradient steps of a new decoder; {_DECODER_STEPS} if the checkpoint has none",
    )
    parser.add_argument(
        "--decoder-data",
        type=HubFolder("dataset"),
        help="training data of the decoder (default: the dataset itself)",
    )
    parser.add_argument("--seed", type=SEED, default=0)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    folder = find_checkpoint(options.checkpoint)
    import torch

    from jepabench.envs.data.episodes import EpisodeDataset
    from jepabench.envs.data.files import write_atomically
    from jepabench.evaluation.model_checks.probing import ProbingError, check_dataset
    from jepabench.results.media.imagination import as_png, imagined_film, imagined_strip
    from jepabench.world_models.analysis.imagination import draw_windows, imagine
    from jepabench.world_models.checkpoint import load_world_model
    from jepabench.world_models.training.decoder import train_decoder

    loaded, dataset = load_world_model(folder), EpisodeDataset.open(options.dataset)
    check_dataset(loaded, dataset)
    if "pixels" not in dataset.fields:
        raise ProbingError(
            f"{options.dataset} has no frames to compare with. Collect it again with --pixels 64."
        )
    decoder = loaded.decoder
    if decoder is None or options.decoder_steps:
        data = EpisodeDataset.open(options.decoder_data) if options.decoder_data else dataset
        decoder = train_decoder(
            loaded.model, data, num_steps=options.decoder_steps or _DECODER_STEPS, seed=options.seed
        )
    rng = np.random.default_rng(options.seed)
    # One future per episode, from the second half of the episodes.
    chosen = rng.choice(
        np.arange(len(dataset) // 2, len(dataset)),
        min(options.episodes, len(dataset) // 2),
        replace=False,
    )
    parts = [
        draw_windows(
            loaded,
            dataset,
            num_steps=options.steps,
            num_windows=1,
            episodes=chosen[[place]],
            rng=rng,
        )
        for place in range(len(chosen))
    ]
    real, imagined = [], []
    for windows in parts:
        rows = [int(windows.rows(step)[0]) for step in range(options.steps + 1)]
        real.append(np.stack([dataset.field("pixels")[row] for row in rows]))
        latents = torch.cat([windows.present, imagine(loaded.model, windows)[0]])
        imagined.append(decoder.paint(latents))
    pictures = np.stack(real), np.stack(imagined)
    print(write_atomically(options.output / "imagined.png", as_png(imagined_strip(*pictures))))
    print(write_atomically(options.output / "imagined.gif", imagined_film(*pictures)))
    return 0
