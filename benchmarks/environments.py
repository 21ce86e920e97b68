"""How fast the worlds run on this machine: ``python benchmarks/environments.py [task ...] [--seconds 1] [--pixels 64]``.

One process, single-threaded. A frame is taken after every control step here, while datasets take one a block.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import envs


def rate(action: Callable[[], object], seconds: float) -> float:
    """Returns how often a second ``action`` runs, the median of five rounds."""
    action()
    rates = []
    for _ in range(5):
        count, start = 0, time.process_time()
        while time.process_time() - start < seconds / 5:
            action()
            count += 1
        rates.append(count / (time.process_time() - start))
    return float(np.median(rates))


def measure(task_id: str, *, seconds: float, pixels: int) -> dict[str, float]:
    """Returns the rates [1/s] of one task by what is done."""
    env = envs.make(task_id, pixels=pixels)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    space = env.action_space
    actions = rng.uniform(space.low, space.high, (1000, 1, *space.shape))
    return {
        "steps": rate(lambda: env.advance(actions[rng.integers(1000)], pixels=False), seconds),
        "steps with a frame": rate(lambda: env.advance(actions[rng.integers(1000)]), seconds),
        "resets with frames": rate(lambda: env.reset(seed=int(rng.integers(1000))), seconds),
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", help="task ids; all of the suite's by default")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each number")
    parser.add_argument("--pixels", type=int, default=64, help="side of a frame")
    arguments = parser.parse_args()
    tasks = arguments.tasks or [task.id for task in envs.list_tasks()]
    for row, task_id in enumerate(tasks):
        rates = measure(task_id, seconds=arguments.seconds, pixels=arguments.pixels)
        if row == 0:
            print(f"{'per second':<34}" + "".join(f"{name:>20}" for name in rates))
        print(f"{task_id:<34}" + "".join(f"{value:>20,.0f}" for value in rates.values()))


if __name__ == "__main__":
    main()
