"""Measure the training throughput of the default JEPA on real data.

Run ``python benchmarks/speed/training.py`` on an idle machine. A step gathers a batch and runs the
forward pass with the losses, the backward pass and the optimiser. Prints frames per second and the
share of each part.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from jepabench.envs.data.collect import collect
from jepabench.pipeline.config import load_preset
from jepabench.world_models.base import WorldModel
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale, WindowSampler, step_generators

BATCH = 128


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8, help="training steps per measurement")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        data = collect(
            "jepabench/TwoRoom-v1",
            Path(folder) / "data",
            num_episodes=100,
            num_steps=20,
            progress=False,
        )
        for threads in sorted({1, os.cpu_count() or 1}):
            torch.set_num_threads(threads)
            for encoder in ("keypoint", "conv", "vit"):
                parts = measure(data, encoder, options.steps)
                frames = BATCH * parts.pop("window")
                whole = sum(parts.values())
                shares = "  ".join(
                    f"{name} {seconds / whole:.0%}" for name, seconds in parts.items()
                )
                print(f"{encoder:>9}  {threads} threads  {frames / whole:7.0f} frames/s   {shares}")


def measure(data, encoder: str, num_steps: int) -> dict[str, float]:
    """Return the median seconds of each part of a step, and the window length."""
    torch.manual_seed(0)
    preset = load_preset("world_model", "jepa")["model"]
    model = build_model("jepa", {**preset, "encoder": encoder, "action_size": 2})
    assert isinstance(model, WorldModel)
    sampler = WindowSampler(
        data,
        observation_key="pixels",
        num_frames=model.window,
        history=model.history,
        scale=ActionScale.from_dataset(data),
    )
    optimizer = torch.optim.AdamW(model.parameters())
    times: dict[str, list[float]] = {"gather": [], "forward": [], "backward": [], "optimiser": []}
    for step in range(num_steps):
        rng, generator = step_generators(0, step)
        marks = [time.perf_counter()]
        batch = sampler.sample(BATCH, rng)
        marks.append(time.perf_counter())
        loss = torch.stack(list(model.losses(batch, generator).values())).sum()
        marks.append(time.perf_counter())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        for name, first, last in zip(times, marks, marks[1:], strict=False):
            times[name].append(last - first)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    return medians | {"window": model.window}


if __name__ == "__main__":
    main()
