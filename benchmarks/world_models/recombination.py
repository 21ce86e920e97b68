"""Measure how well world models predict withheld combinations of position and action (claim C18).

``python benchmarks/world_models/recombination.py HELD_OUT MODEL [MODEL ...]`` writes one row per
model, combination and step to ``results/tables/recombination-foresight.csv``. The models were
trained on data that withhold a combination. HELD_OUT has all combinations::

    jepabench collect TwoRoom-Recombination HELD_OUT --behaviour random --split test
"""

import argparse
from pathlib import Path

import pandas as pd

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.files import write_atomically
from jepabench.evaluation.model_checks.recombination import recombination_table
from jepabench.world_models.checkpoint import load_world_model

TABLE = Path(__file__).parents[2] / "results" / "tables" / "recombination-foresight.csv"
KEYS = ["task", "seed", "pairs", "step"]


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("held_out", type=Path, help="dataset")
    parser.add_argument("models", type=Path, nargs="+", help="folders of world models")
    parser.add_argument("--steps", type=int, default=3, help="model steps ahead")
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV file; other rows stay")
    options = parser.parse_args()
    dataset = EpisodeDataset.open(options.held_out)
    tables = [pd.read_csv(options.output)] if options.output.exists() else []
    for folder in options.models:
        loaded = load_world_model(folder)
        table = recombination_table(loaded, dataset, num_steps=options.steps)
        table.insert(0, "task", loaded.task_id)
        table.insert(1, "seed", loaded.metadata["seed"])
        tables.append(table)
    rows = pd.concat(tables).drop_duplicates(KEYS, keep="last")
    write_atomically(options.output, rows.to_csv(index=False, float_format="%.4f"))


if __name__ == "__main__":
    main()
