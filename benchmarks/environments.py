"""What the worlds are like on this machine: ``python benchmarks/environments.py TABLE [task ...]`` measures and writes a table.

``frames``: how fast they run, in one process and one thread. ``expert``: how often the expert, chance and doing nothing
succeed. ``memory``: what 64 of a kind take in one process. ``check``: whether ``check-env`` passes in two processes with equal
fingerprints. Each is a file of ``results/tables/``; rows of tasks that are not named stay as they are.
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
from jepabench.envs.files import write_atomically
from jepabench.results.board.world_facts import TABLES

PIXELS = 64
NUM_WORLDS = 64
ROUNDS = 5
# What is asked for at least: frames a second, and the expert's success by stratum ("" is any).
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


def bar(bars: Mapping[str, float], task_id: str) -> float | str:
    """Returns what is asked for of a task: of the first word of its name; empty if nothing is."""
    return bars.get(task_id.split("/")[-1].split("-")[0], "")


def frames(task_id: str, seconds: float) -> list[Row]:
    """Returns the rates [1/s] of one task by what is done."""
    env = envs.make(task_id, pixels=PIXELS)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    space = env.action_space
    actions = rng.uniform(space.low, space.high, (1000, 1, *space.shape))
    rates = {
        "frames": _rate(lambda: env.advance(actions[rng.integers(1000)]), seconds),
        "steps": _rate(lambda: env.advance(actions[rng.integers(1000)], pixels=False), seconds),
        "physics": _rate(lambda: env._step_physics(actions[rng.integers(1000), 0]), seconds),
        "resets": _rate(lambda: env.reset(seed=int(rng.integers(1000))), seconds),
    }
    return [
        {
            "task": task_id,
            **{name: round(rate) for name, rate in rates.items()},
            "at least": bar(FRAMES, task_id),
        }
    ]


def _rate(action: Callable[[], object], seconds: float) -> float:
    """Returns how often a second of processor time ``action`` runs, the median of some rounds."""
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
    """Returns how often each policy succeeds in the ``test`` episodes of each stratum."""
    task, env, rows = envs.get_task(task_id), envs.make(task_id), []
    for stratum in task.strata:
        specs = envs.episode_specs(task_id, "test", num_episodes, strata=(stratum,))
        for policy in policies(task):
            outcomes = [play(env, spec, policy) for spec in specs]
            held, ever = (
                sum(getattr(outcome, kind) for outcome in outcomes) for kind in ("held", "ever")
            )
            limit = {"expert": bar(EXPERT, task_id), "hold-still": 0.0}.get(policy, "")
            row = {"task": task_id, "stratum": stratum, "policy": policy, "episodes": num_episodes}
            rows.append(row | {"held": held, "ever": ever, "bar": limit})
    return rows


def memory(task_id: str) -> list[Row]:
    """Returns the memory [MB] of a process with 64 worlds that are all being used, and of one without any."""
    empty, full = (_elsewhere(held, count, task_id) / 1e3 for count in (0, NUM_WORLDS))
    return [
        {
            "task": task_id,
            "worlds": NUM_WORLDS,
            "MB": round(full),
            "MB without": round(empty),
            "below": MEMORY,
        }
    ]


def held(num_worlds: int, task_id: str) -> int:
    """Returns the most memory that this process has had [kB], with so many worlds of a task side by side, each played for a while."""
    worlds = [envs.make(task_id, pixels=PIXELS) for _ in range(num_worlds)]
    for seed, env in enumerate(worlds):
        env.reset(seed=seed)
        for _ in range(5):
            env.step(env.action_space.sample())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (
        1000 if sys.platform == "darwin" else 1
    )


def check(task_id: str, num_episodes: int) -> list[Row]:
    """Returns what ``check-env`` finds in two processes, and whether their fingerprints are equal."""
    first, second = (_elsewhere(check_env, task_id, num_episodes=num_episodes) for _ in range(2))
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


def _elsewhere(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Returns what a function gives in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def update(path: Path, rows: Sequence[Row]) -> None:
    """Writes the rows of a task into a table, in place of those that it had; the table is in the order of tasks."""
    with path.open(newline="", encoding="utf-8") if path.exists() else io.StringIO() as file:
        others = [row for row in csv.DictReader(file) if row["task"] != rows[0]["task"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(
        sorted([*others, *rows], key=lambda row: row["task"])
    )  # stable: strata and policies keep their order
    write_atomically(path, text.getvalue().encode())


def main() -> None:
    """Measures and writes task by task, so that what is done stays done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=("frames", "expert", "memory", "check"))
    parser.add_argument("tasks", nargs="*", help="task ids; all of the suite's by default")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each rate of `frames`")
    parser.add_argument("--episodes", type=int, help="a stratum: 100 for `expert`, 20 for `check`")
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
