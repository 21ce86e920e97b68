"""``jepabench train``: train a world model on a dataset."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from jepabench.cli.arguments import SEED, Folder, HubFolder, add_settings
from jepabench.pipeline.config import load_preset
from jepabench.pipeline.presets.settings import check_training
from jepabench.world_models.training.tracking import check_tracker, track


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "dataset",
        type=HubFolder("dataset"),
        help="folder that `jepabench collect` wrote, or hf://user/name",
    )
    parser.add_argument(
        "validation", type=HubFolder("dataset"), help="held-out dataset of the same task"
    )
    parser.add_argument(
        "directory", type=Folder(), help="folder of the checkpoint; an interrupted run is resumed"
    )
    parser.add_argument(
        "--world-model", default="jepa", help="preset, see `jepabench list world-models`"
    )
    parser.add_argument(
        "--encoder-from",
        type=HubFolder("checkpoint"),
        help="checkpoint whose encoder is used and frozen, so that only the predictor is trained",
    )
    parser.add_argument("--seed", type=SEED, default=0)
    add_settings(
        parser, help="e.g. training.num_steps=2000 tracker=tensorboard|wandb|mlflow|trackio"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    tracker, overrides = _split_tracker(options.overrides)
    preset = load_preset("world_model", options.world_model, overrides)
    from jepabench.evaluation.stages.stage import run_stage
    from jepabench.world_models.checkpoint import fingerprint
    from jepabench.world_models.training.devices import check_training_device, get_rank
    from jepabench.world_models.training.fit import fit, open_datasets

    check_training(preset["training"])
    check_tracker(tracker)
    check_training_device(preset["training"].get("device", "cpu"))
    # Identify the inputs by their contents, because the data at a path may have been replaced.
    data, held_out = open_datasets(options.dataset, options.validation)
    config = {
        **preset,
        "seed": options.seed,
        "dataset": data.manifest.fingerprint,
        "validation": held_out.manifest.fingerprint,
    }
    if options.encoder_from:
        config["encoder_from"] = fingerprint(options.encoder_from)

    def work(directory: Path) -> None:
        folder, run = options.directory.parent / "tracking", options.directory.name
        with track(tracker, folder=folder, run=run, directory=directory, settings=config):
            diagnosis = fit(
                dataset=options.dataset,
                validation=options.validation,
                directory=directory,
                seed=options.seed,
                kind=preset["kind"],
                model=preset["model"],
                training=preset["training"],
                encoder_from=options.encoder_from,
            )
        if not get_rank():
            for name, value in diagnosis.scalars().items():
                print(f"{name:>20}  {value:.3f}")

    if get_rank():  # only the first of several processes writes the folder
        with tempfile.TemporaryDirectory() as folder:
            work(Path(folder))
    elif not run_stage(options.directory, config, work):
        print(f"{options.directory} is done already.")
    return 0


def _split_tracker(overrides: list[str]) -> tuple[str, list[str]]:
    """Return the tracker, which is not part of the preset, and the other settings."""
    names = [item.partition("=")[2] for item in overrides if item.startswith("tracker=")]
    rest = [item for item in overrides if not item.startswith("tracker=")]
    return (names or ["none"])[-1], rest
