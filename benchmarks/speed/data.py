"""Measure how fast datasets are collected and read.

``python benchmarks/speed/data.py [--task ID] [--episodes N]`` prints a table.

Reading: gather 64 windows of 4 frames into a reused buffer, compared with a plain copy of as many
bytes from another part of the same file. Collection: make the same dataset with 1 and 2 processes;
the start of the processes (about one second) is subtracted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.manifest import fingerprint

NUM_WINDOWS, NUM_FRAMES = 64, 4


def main() -> None:
    """Make datasets in a temporary folder, measure, and print the table."""
    parser = argparse.ArgumentParser(description="How fast data is made and read here.")
    parser.add_argument("--task", default="jepabench/TwoRoom-v1")
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pixels", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = [_time_collection(Path(folder), options, num_workers) for num_workers in (1, 2)]
        dataset = EpisodeDataset.open(Path(folder) / f"1-{options.episodes}")
        frames = dataset.manifest.num_frames
        rows = [
            (f"collect, {n} process{'es' * (n > 1)}", f"{frames / s:,.0f} frames/s")
            for n, s in zip((1, 2), seconds, strict=True)
        ]
        rows += [
            ("2 processes against 1", f"{seconds[0] / seconds[1]:.2f} x"),
            *_measure_reading(dataset),
        ]
    print(
        f"{options.task}, {options.episodes} episodes of {options.steps} model steps, "
        f"{options.pixels} pixels"
    )
    for name, value in rows:
        print(f"{name:<36}{value:>20}")


def _time_collection(folder: Path, options: argparse.Namespace, num_workers: int) -> float:
    """Return the seconds for all episodes without the start of processes and the imports.

    The time of a nearly empty collection is subtracted.
    """
    taken = []
    for num_episodes in (2, options.episodes):
        start = time.perf_counter()
        collect(
            options.task,
            folder / f"{num_workers}-{num_episodes}",
            num_episodes=num_episodes,
            num_steps=options.steps,
            pixels=options.pixels,
            num_workers=num_workers,
        )
        taken.append(time.perf_counter() - start)
    return taken[1] - taken[0]


def _measure_reading(dataset: EpisodeDataset) -> list[tuple[str, str]]:
    rng, starts = np.random.default_rng(0), dataset.window_starts(NUM_FRAMES)
    pixels = np.asarray(dataset.field("pixels"))
    out = np.empty((NUM_WINDOWS, NUM_FRAMES, *pixels.shape[1:]), np.uint8)
    count = NUM_WINDOWS * NUM_FRAMES

    def gather() -> None:
        dataset.gather("pixels", rng.choice(starts, NUM_WINDOWS), NUM_FRAMES, out=out)

    def copy() -> None:
        first = int(rng.integers(0, len(pixels) - count))
        np.copyto(out.reshape(count, *pixels.shape[1:]), pixels[first : first + count])

    gathered, copied = _time(gather), _time(copy)
    hashed = _time(lambda: fingerprint({"pixels": pixels}), repeats=3)
    return [
        ("gather 64 windows of 4 frames", f"{out.nbytes / gathered / 1e9:.1f} GB/s"),
        ("", f"{NUM_WINDOWS / gathered:,.0f} windows/s"),
        ("plain copy of as much", f"{out.nbytes / copied / 1e9:.1f} GB/s"),
        ("gather against plain copy", f"{copied / gathered:.2f} x"),
        ("fingerprint", f"{pixels.nbytes / hashed / 1e9:.1f} GB/s"),
    ]


def _time(function: Callable[[], object], repeats: int = 200) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return median(times)


if __name__ == "__main__":
    main()
