"""What the benchmarks of planning start from: data and one world model of a task, made once, or found where they were made.

On TwoRoom and PointMaze-UMaze they are those of ``suite=quick``, so that whoever ran it has them already.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.utils import instantiate
from rich.console import Console

from envs import get_task
from evaluation.runs import written_whole
from jepabench.executor import run_stages
from jepabench.run import suite_root
from jepabench.stages import SuitePlan, short_name

TABLES = Path(__file__).parents[1] / "results" / "tables"
# What a harder task gets beyond the quick suite's 600 episodes of 30 model steps and 400 gradient steps.
_DATA: dict[str, dict[str, int]] = {
    "PointMaze-Medium-v1": {"num_episodes": 1000},
    "PointMaze-Large-v1": {"num_episodes": 1500, "num_steps": 40},
    "Push-v1": {"num_episodes": 2000},
}
_GRADIENT_STEPS = {"PointMaze-Medium-v1": 600, "PointMaze-Large-v1": 800}


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where the parts are.

    Attributes:
        task_id: the task.
        model: folder of a world model.
        data, validation: the datasets that it was trained on and watched with.
        work: where what is made on top goes.
    """

    task_id: str
    model: Path
    data: Path
    validation: Path
    work: Path

    @property
    def name(self) -> str:
        """The task's short name."""
        return short_name(self.task_id)


def prepare(task_id: str, output: Path, *, agent: str = "jepa-cem") -> Prepared:
    """Makes what is missing of data and world model of a task, for the world model of an ``agent`` preset."""
    task = get_task(task_id)
    root = suite_root(["suite=quick", f"agent={agent}", f"output={output.resolve()}", "num_workers=1"])
    suite, name = root["suite"], short_name(task.id)
    suite["tasks"] = [{"task_id": task.id, "strata": list(task.strata[:1]), "num_episodes": 1}]
    suite["data"] |= _DATA.get(name, {})
    suite["overrides"]["world_model"]["jepa"]["training"]["num_steps"] = _GRADIENT_STEPS.get(name, 400)
    make_plan = partial(SuitePlan, root)
    stages = make_plan().stages
    (model,) = [key for key in stages if key.startswith("model/")]
    run_stages(make_plan, launcher=instantiate(root["launcher"]), console=Console(), only=[model])
    train, validation = (stages[f"data/{name}/{split}"].directory / "dataset" for split in ("train", "validation"))
    folder = stages[model].directory
    return Prepared(task.id, folder, train, validation, output / "planning" / name / folder.name)


def add_arguments(parser: argparse.ArgumentParser, *, tasks: tuple[str, ...]) -> None:
    """Adds what the benchmarks of planning share."""
    parser.add_argument("tasks", nargs="*", default=[f"jepabench/{task}" for task in tasks])
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="as of `jepabench run`")
    parser.add_argument("--episodes", type=int, default=100, help="of each stratum")
    parser.add_argument("--strata", nargs="+", help="all of the task's by default")


def kept(path: Path, make: Any) -> pd.DataFrame:
    """Returns the table in a file, or makes it and keeps it there, so that a killed benchmark goes on."""
    if not path.exists():
        table = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial_path:
            table.to_parquet(partial_path)
    return pd.read_parquet(path)


def write_rows(path: Path, rows: list[dict[str, Any]], keys: list[str]) -> None:
    """Writes rows in place of those of a table that have the same keys; the others stay, and the order is that of arrival."""
    table = pd.DataFrame(rows)
    if path.exists():
        table = pd.concat([pd.read_csv(path), table]).drop_duplicates(keys, keep="last")
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial_path:
        table.to_csv(partial_path, index=False, float_format="%.4f")


def metadata(folder: Path) -> dict[str, Any]:
    """Returns what a world model says of its training."""
    return json.loads((folder / "model.json").read_text())["metadata"]
