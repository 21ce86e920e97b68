"""Measure how the error of imagined latents grows with the number of model steps (claim C15).

``python benchmarks/foresight.py HELD_OUT MODEL [MODEL ...]`` writes one row per model and step to
``results/tables/foresight.csv``. The models are of one task and were trained with different seeds.
HELD_OUT is a dataset of that task that none of them was trained on.
"""

import argparse
from pathlib import Path

from tables import TABLES, write_rows

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.task import short_name
from jepabench.evaluation.model_checks.diagnosis import foresight_table
from jepabench.world_models.checkpoint import load_world_model


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("held_out", type=Path, help="dataset")
    parser.add_argument("models", type=Path, nargs="+", help="folders of world models")
    parser.add_argument("--steps", type=int, default=8, help="model steps ahead")
    parser.add_argument("--tables", type=Path, default=TABLES, help="folder of the CSV files")
    options = parser.parse_args()
    dataset = EpisodeDataset.open(options.held_out)
    for folder in options.models:
        loaded = load_world_model(folder)
        seed = loaded.metadata["seed"]
        table = foresight_table(loaded, dataset, num_steps=options.steps)
        rows = table.assign(task=short_name(loaded.task_id), seed=seed)[["task", "seed", *table]]
        keys = ["task", "seed", "step"]
        write_rows(options.tables / "foresight.csv", rows.to_dict("records"), keys)


if __name__ == "__main__":
    main()
