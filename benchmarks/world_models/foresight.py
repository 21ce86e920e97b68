"""Measure the error of imagined latents on held-out episodes (claims C15 and C18).

``python benchmarks/world_models/foresight.py HELD_OUT MODEL [MODEL ...]`` writes one row per model
and number of model steps to ``results/tables/foresight.csv``. The models are of one task and were
trained with different seeds. HELD_OUT is a dataset of that task that none of them was trained on.

With ``--combinations``, the models were trained on data that withhold a combination of position and
action. There is one row per model, combination and step in
``results/tables/recombination-foresight.csv``. HELD_OUT has all combinations::

    jepabench collect TwoRoom-Recombination HELD_OUT --behaviour random --split test
"""

import argparse
from pathlib import Path

import pandas as pd

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.files import write_atomically
from jepabench.envs.task import short_name
from jepabench.evaluation.model_checks.diagnosis import foresight_table
from jepabench.evaluation.model_checks.recombination import recombination_table
from jepabench.world_models.checkpoint import LoadedWorldModel, load_world_model

TABLES = Path(__file__).parents[2] / "results" / "tables"


def measure(
    loaded: LoadedWorldModel, dataset: EpisodeDataset, options: argparse.Namespace
) -> pd.DataFrame:
    """Return the rows of one model."""
    if options.combinations:
        table = recombination_table(loaded, dataset, num_steps=options.steps or 3)
        table.insert(0, "task", loaded.task_id)
    else:
        table = foresight_table(loaded, dataset, num_steps=options.steps or 8)
        table.insert(0, "task", short_name(loaded.task_id))
    table.insert(1, "seed", loaded.metadata["seed"])
    return table


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("held_out", type=Path, help="dataset")
    parser.add_argument("models", type=Path, nargs="+", help="folders of world models")
    parser.add_argument("--steps", type=int, help="model steps ahead (8; 3 for combinations)")
    parser.add_argument(
        "--combinations", action="store_true", help="by combination of position and action"
    )
    parser.add_argument("--output", type=Path, help="CSV file, whose other rows are kept")
    options = parser.parse_args()
    name = "recombination-foresight.csv" if options.combinations else "foresight.csv"
    path = options.output or TABLES / name
    dataset = EpisodeDataset.open(options.held_out)
    tables = [pd.read_csv(path)] if path.exists() else []
    tables += [measure(load_world_model(folder), dataset, options) for folder in options.models]
    keys = ["task", "seed", *(["pairs"] if options.combinations else []), "step"]
    rows = pd.concat(tables).drop_duplicates(keys, keep="last")
    write_atomically(path, rows.to_csv(index=False, float_format="%.4f"))


if __name__ == "__main__":
    main()
