"""What the benchmarks of planning share: their arguments, and tables that a killed run goes on with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from jepabench.envs.files import atomic_write
from jepabench.envs.task import short_name
from jepabench.execution.shared_model import SharedModel
from jepabench.pipeline.checkpoints import find_checkpoint
from jepabench.world_models.checkpoint import load_world_model

TABLES = Path(__file__).parents[1] / "results" / "tables"


def add_arguments(parser: argparse.ArgumentParser, *, tasks: tuple[str, ...]) -> None:
    """Adds what the benchmarks of planning share."""
    parser.add_argument(
        "tasks", nargs="*", default=[f"jepabench/{task}" for task in tasks], help="task ids"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), help="as of `jepabench run`"
    )
    parser.add_argument("--tables", type=Path, default=TABLES, help="folder of the CSV files")
    parser.add_argument("--episodes", type=int, default=100, help="of each stratum")
    parser.add_argument("--strata", nargs="+", help="all of the task's by default")


def add_given_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what names a model that is there, for benchmarks that take ``given`` parts."""
    parser.add_argument(
        "--checkpoint", help="a reference checkpoint or a folder, in place of training a model"
    )
    parser.add_argument("--data", type=Path, help="what it was trained on")


def given(options: argparse.Namespace) -> SharedModel:
    """Returns the parts of the model that ``--checkpoint`` names.

    Raises:
        ValueError: its data is not named.
    """
    if not options.data:
        raise ValueError(
            "--checkpoint needs --data: what is made on top is trained on what the model was trained on."
        )
    model = find_checkpoint(options.checkpoint)
    task_id = load_world_model(model).task_id
    work = options.output / "planning" / short_name(task_id) / model.name
    return SharedModel(task_id, model, options.data, options.data, work)


def kept(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Returns the table in a file, or makes it and keeps it there, so that a killed benchmark goes on."""
    if not path.exists():
        table = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial_path:
            table.to_parquet(partial_path)
    return pd.read_parquet(path)


def write_rows(path: Path, rows: list[dict[str, Any]], keys: list[str]) -> None:
    """Writes rows in place of those of a table that have the same keys; the others stay, and the order is that of arrival."""
    table = pd.DataFrame(rows)
    if path.exists():
        table = pd.concat([pd.read_csv(path), table]).drop_duplicates(keys, keep="last")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial_path:
        table.to_csv(partial_path, index=False, float_format="%.4f")
