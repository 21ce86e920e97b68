"""Measure the overhead of sweeps: a job, `status` of many runs, and `query` of many episodes.

Run ``python benchmarks/speed/sweep.py``. Nothing is trained: the jobs do nothing, and the runs and
episodes are synthetic, in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from rich.console import Console

from jepabench.cli.benchmark.query import query
from jepabench.evaluation.records import SCHEMA
from jepabench.evaluation.stages.stage import run_stage
from jepabench.execution.executor import run_stages
from jepabench.execution.launchers import JoblibLauncher
from jepabench.execution.status import print_status
from jepabench.execution.workers import Worker
from jepabench.pipeline.stages import Stage


class IdlePlan:
    """Plan jobs that do nothing, in groups of ten that depend on one job.

    Args:
        folder: folder of the jobs.
        count: number of jobs.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.stages: dict[str, Stage] = {}
        self.output, self.suite = folder, {"name": "idle", "version": 1, "training_seeds": [0]}
        for number in range(count):
            needs = (f"model/toy/m/{number // 10}",) if number % 10 else ()
            key = f"evaluation/toy/a/{number}" if needs else f"model/toy/m/{number // 10}"
            directory = folder / key
            self.stages[key] = Stage(key, key, directory, {"number": number}, needs, _do_nothing)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; wall (processor) seconds")
    with tempfile.TemporaryDirectory() as folder:
        for line in (
            _measure_overhead(Path(folder) / "jobs", options.jobs),
            _measure_status(Path(folder) / "runs", options.runs),
        ):
            print(line)
        for line in _measure_query(Path(folder) / "rows", options.rows):
            print(line)


def _measure_overhead(folder: Path, count: int) -> str:
    """Time one worker in this process, then two processes including their start."""
    began = _read_clocks()
    Worker(
        partial(IdlePlan, folder / "one", count), tuple(IdlePlan(folder / "one", count).stages)
    )()
    wall, own = _measure_since(began)
    began = _read_clocks()
    plan = partial(IdlePlan, folder / "two", count)
    run_stages(plan, launcher=JoblibLauncher(num_workers=2), console=Console(quiet=True))
    together, _ = _measure_since(began)
    return (
        f"overhead of a job: {1000 * wall / count:.1f} ({1000 * own / count:.1f}) ms; "
        f"{count} jobs on two workers, "
        f"with their start: {together:.1f} s"
    )


def _measure_status(folder: Path, count: int) -> str:
    plan = IdlePlan(folder, count)
    for number, stage in enumerate(plan.stages.values()):
        if number % 50:  # every fiftieth run is missing
            run_stage(stage.directory, stage.config, _do_nothing)
    began = _read_clocks()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        print_status(plan, Console(file=nowhere))  # pyright: ignore[reportArgumentType]
    wall, own = _measure_since(began)
    return f"status of {count:,} runs: {wall:.2f} ({own:.2f}) s"


def _measure_query(folder: Path, count: int) -> list[str]:
    evaluations, rng = max(1, count // 1000), np.random.default_rng(0)
    for number in range(evaluations):
        directory = (
            folder
            / "quick"
            / "evaluations"
            / "Task-v1"
            / f"agent{number % 100}"
            / f"seed{number // 100}"
        )
        table = _make_rows(count // evaluations, f"agent{number % 100}", number // 100, rng)
        run_stage(directory, {"number": number}, partial(_write, table))
    lines = []
    for words in ("first query (copies all rows)", "query"):
        began = _read_clocks()
        answer = query(
            "SELECT agent, avg(success_held::INT) AS held "
            "FROM episodes GROUP BY agent ORDER BY held",
            folder,
        )
        wall, own = _measure_since(began)
        lines.append(
            f"{words} over {count:,} rows in {evaluations:,} files: "
            f"{wall:.2f} ({own:.2f}) s, {len(answer)} rows"
        )
    return lines


def _make_rows(count: int, agent: str, seed: int, rng: np.random.Generator) -> pa.Table:
    held = rng.random(count) < 0.7
    made = {
        pa.string(): lambda name: (
            [{"agent": agent, "task_id": "jepabench/Task-v1", "split": "test"}.get(name, "near")]
            * count
        ),
        pa.int64(): lambda name: {
            "index": np.arange(count),
            "training_seed": np.full(count, seed),
        }.get(name, np.ones(count, int)),
        pa.float64(): lambda name: rng.random(count),
        pa.bool_(): lambda name: held,
    }
    return pa.table({field.name: made[field.type](field.name) for field in SCHEMA}, schema=SCHEMA)


def _write(table: pa.Table, directory: Path) -> None:
    parquet.write_table(table, directory / "episodes.parquet")


def _do_nothing(directory: Path) -> None:
    (directory / "result.txt").write_text("nothing", encoding="utf-8")


def _read_clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _measure_since(began: tuple[float, float]) -> tuple[float, float]:
    return time.perf_counter() - began[0], time.process_time() - began[1]


if __name__ == "__main__":
    main()
