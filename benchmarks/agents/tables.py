"""Define the arguments of the planning benchmarks and tables that an interrupted run resumes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from jepabench.envs.data.files import atomic_write
from jepabench.envs.task import short_name
from jepabench.execution.shared_model import SharedModel
from jepabench.pipeline.checkpoints import find_checkpoint
from jepabench.world_models.checkpoint import load_world_model

TABLES = Path(__file__).parents[2] / "results" / "tables"


def add_arguments(parser: argparse.ArgumentParser, *, tasks: tuple[str, ...]) -> None:
    """Add the arguments that all planning benchmarks share."""
    parser.add_argument(
        "tasks", nargs="*", default=[f"jepabench/{task}" for task in tasks], help="task ids"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), help="output folder, as in `jepabench run`"
    )
    parser.add_argument("--tables", type=Path, default=TABLES, help="folder of the CSV files")
    parser.add_argument("--episodes", type=int, default=100, help="episodes per stratum")
    parser.add_argument("--strata", nargs="+", help="default: all strata of the task")


def add_given_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that select an existing model."""
    parser.add_argument(
        "--checkpoint", help="reference checkpoint or model folder to use; default: train a model"
    )
    parser.add_argument("--data", type=Path, help="dataset that the checkpoint was trained on")


def load_given(options: argparse.Namespace) -> SharedModel:
    """Return the parts of the model that ``--checkpoint`` names.

    Raises:
        ValueError: ``--data`` is missing.
    """
    if not options.data:
        raise ValueError(
            "--checkpoint needs --data DATA: pass the dataset that the model was trained on. "
            "Parts added to the model are trained on it."
        )
    model = find_checkpoint(options.checkpoint)
    task_id = load_world_model(model).task_id
    work = options.output / "planning" / short_name(task_id) / model.name
    return SharedModel(task_id, model, options.data, options.data, work)


def load_or_make(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the table in a file; make and save it if the file does not exist."""
    if not path.exists():
        table = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial_path:
            table.to_parquet(partial_path)
    return pd.read_parquet(path)


def write_rows(path: Path, rows: list[dict[str, Any]], keys: list[str]) -> None:
    """Add rows to a table; a new row replaces an old one with the same keys."""
    table = pd.DataFrame(rows)
    if path.exists():
        table = pd.concat([pd.read_csv(path), table]).drop_duplicates(keys, keep="last")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial_path:
        table.to_csv(partial_path, index=False, float_format="%.4f")
