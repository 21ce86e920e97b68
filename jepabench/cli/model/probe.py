"""``jepabench probe``: measure which physical quantities encoded and imagined latents contain."""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import Whole, add_common_arguments
from jepabench.pipeline.checkpoints import find_checkpoint, write_table
from jepabench.pipeline.terminal import make_console, rich_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common_arguments(parser, dataset=True)
    parser.add_argument(
        "--steps",
        type=Whole(1),
        nargs="*",
        default=[1, 3, 5],
        help="also probe latents imagined this many model steps ahead",
    )
    parser.add_argument(
        "--frames", type=Whole(2), default=6000, help="largest number of frames to use"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    folder = find_checkpoint(options.checkpoint)
    from jepabench.envs.data.episodes import EpisodeDataset
    from jepabench.evaluation.model_checks.probing import probe_table
    from jepabench.world_models.checkpoint import load_world_model

    table = probe_table(
        load_world_model(folder),
        EpisodeDataset.open(options.dataset),
        steps=tuple(options.steps),
        num_frames=options.frames,
        seed=options.seed,
    )
    write_table(table, options.output, "probe")
    for kind, part in table.groupby("probe", sort=False):
        wide = part.pivot(index="quantity", columns="step", values="r2").reindex(
            part["quantity"].unique()
        )
        wide.columns = ["encoded" if step == 0 else f"imagined {step}" for step in wide.columns]
        wide.insert(0, "r encoded", part[part["step"] == 0].set_index("quantity")["r"])
        make_console().print(
            rich_table(
                wide.reset_index(), f"R2 of a {kind} probe on held-out episodes (1 is perfect)"
            )
        )
    return 0
