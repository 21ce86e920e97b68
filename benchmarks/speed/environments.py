"""Measure the environments on this machine.

``python benchmarks/speed/environments.py TABLE [TASK ...]`` measures and writes one of these
tables:

- ``frames``: speed in one process and one thread.
- ``expert``: success of the expert, of random actions and of doing nothing.
- ``memory``: memory of 64 environments in one process.
- ``check``: whether ``check-env`` passes in two processes with equal fingerprints.

Each table is a file in ``results/tables/``. Rows of tasks that are not named stay unchanged.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jepabench import envs
from jepabench.envs.checks.checker import check_env
from jepabench.envs.checks.scripted_rollouts import play, policies
from jepabench.envs.data.files import write_atomically
from jepabench.results.board.world_facts import TABLES

PIXELS = 64
NUM_WORLDS = 64
ROUNDS = 5
# Lower bounds: frames per second, and the expert's success by stratum ("" is any stratum).
FRAMES = {
    "PushT": 4000,
    "Reach": 1000,
    "Push": 1000,
    "PickPlace": 1000,
    "Granular": 150,
    "Rope": 400,
    "Navigation": 1000,
}
EXPERT = {
    "PointMaze": 0.99,
    "TwoRoom": 0.99,
    "AntMaze": 0.99,
    "PushT": 0.90,
    "Reach": 0.99,
    "Push": 0.95,
    "PickPlace": 0.90,
    "Navigation": 0.95,
}
MEMORY = 2000  # [MB]

Row = dict[str, Any]


def find_bar(bars: Mapping[str, float], task_id: str) -> float | str:
    """Return the bound for the first word of the task's name, or "" if there is none."""
    return bars.get(task_id.split("/")[-1].split("-")[0], "")


def frames(task_id: str, seconds: float) -> list[Row]:
    """Return the rates [1/s] of one task by operation."""
    env = envs.make(task_id, pixels=PIXELS)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    space = env.action_space
    actions = rng.uniform(space.low, space.high, (1000, 1, *space.shape))
    rates = {
        "frames": _measure_rate(lambda: env.advance(actions[rng.integers(1000)]), seconds),
        "steps": _measure_rate(
            lambda: env.advance(actions[rng.integers(1000)], pixels=False), seconds
        ),
        "physics": _measure_rate(
            lambda: env._step_physics(actions[rng.integers(1000), 0]), seconds
        ),
        "resets": _measure_rate(lambda: env.reset(seed=int(rng.integers(1000))), seconds),
    }
    return [
        {
            "task": task_id,
            **{name: round(rate) for name, rate in rates.items()},
            "at least": find_bar(FRAMES, task_id),
        }
    ]


def _measure_rate(action: Callable[[], object], seconds: float) -> float:
    """Return the median calls of ``action`` per second of processor time."""
    action()
    rates = []
    for _ in range(ROUNDS):
        count, start = 0, time.process_time()
        while time.process_time() - start < seconds / ROUNDS:
            action()
            count += 1
        rates.append(count / (time.process_time() - start))
    return float(np.median(rates))


def expert(task_id: str, num_episodes: int) -> list[Row]:
    """Return the success of each policy in the ``test`` episodes of each stratum."""
    task, env, rows = envs.get_task(task_id), envs.make(task_id), []
    for stratum in task.strata:
        specs = envs.episode_specs(task_id, "test", num_episodes, strata=(stratum,))
        for policy in policies(task):
            outcomes = [play(env, spec, policy) for spec in specs]
            held, ever = (
                sum(getattr(outcome, kind) for outcome in outcomes) for kind in ("held", "ever")
            )
            limit = {"expert": find_bar(EXPERT, task_id), "hold-still": 0.0}.get(policy, "")
            row = {"task": task_id, "stratum": stratum, "policy": policy, "episodes": num_episodes}
            rows.append(row | {"held": held, "ever": ever, "bar": limit})
    return rows


def memory(task_id: str) -> list[Row]:
    """Return the memory [MB] of a process with 64 environments in use, and of one with none."""
    empty, full = (
        _run_in_new_process(measure_peak, count, task_id) / 1e3 for count in (0, NUM_WORLDS)
    )
    return [
        {
            "task": task_id,
            "worlds": NUM_WORLDS,
            "MB": round(full),
            "MB without": round(empty),
            "below": MEMORY,
        }
    ]


def measure_peak(num_worlds: int, task_id: str) -> int:
    """Return the peak memory [kB] of this process after playing ``num_worlds`` environments."""
    worlds = [envs.make(task_id, pixels=PIXELS) for _ in range(num_worlds)]
    for seed, env in enumerate(worlds):
        env.reset(seed=seed)
        for _ in range(5):
            env.step(env.action_space.sample())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (
        1000 if sys.platform == "darwin" else 1
    )


def check(task_id: str, num_episodes: int) -> list[Row]:
    """Return what ``check-env`` finds in two processes and whether the fingerprints agree."""
    first, second = (
        _run_in_new_process(check_env, task_id, num_episodes=num_episodes) for _ in range(2)
    )
    failed = {check.name for card in (first, second) for check in card.checks if not check.passed}
    equal = first.fingerprint == second.fingerprint != ""
    return [
        {
            "task": task_id,
            "fingerprint": first.fingerprint,
            "equal": equal,
            "failed": ", ".join(sorted(failed)),
        }
    ]


def _run_in_new_process(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function in a new process and return its result."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def update(path: Path, rows: Sequence[Row]) -> None:
    """Replace the rows of a task in a table that is sorted by task."""
    with path.open(newline="", encoding="utf-8") if path.exists() else io.StringIO() as file:
        others = [row for row in csv.DictReader(file) if row["task"] != rows[0]["task"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(
        sorted([*others, *rows], key=lambda row: row["task"])
    )  # stable sort: strata and policies keep their order
    write_atomically(path, text.getvalue().encode())


def main() -> None:
    """Measure and write the table task by task."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=("frames", "expert", "memory", "check"))
    parser.add_argument("tasks", nargs="*", help="task ids; default: all tasks of the suite")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds per rate of `frames`")
    parser.add_argument(
        "--episodes", type=int, help="per stratum; default: 100 for `expert`, 20 for `check`"
    )
    parser.add_argument("--output", type=Path, default=TABLES, help="folder of the table")
    options = parser.parse_intermixed_args()
    measure: dict[str, Callable[[str], list[Row]]] = {
        "frames": lambda task_id: frames(task_id, options.seconds),
        "expert": lambda task_id: expert(task_id, options.episodes or 100),
        "memory": memory,
        "check": lambda task_id: check(task_id, options.episodes or 20),
    }
    for task_id in tqdm(options.tasks or [task.id for task in envs.list_tasks()], unit="task"):
        rows = measure[options.table](task_id)
        update(options.output / f"{options.table}.csv", rows)
        for row in rows:
            tqdm.write("  ".join(f"{name} {value}" for name, value in row.items() if value != ""))


if __name__ == "__main__":
    main()
