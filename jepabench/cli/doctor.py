"""``jepabench doctor``: is this machine ready, and how fast is it?"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from jepabench.execution.costs import Speeds

PINNED = {"mujoco": "3.17.0", "torch": "2.13.0"}
NEEDED = (
    "gymnasium",
    "stable-baselines3",
    "numpy",
    "pandas",
    "pyarrow",
    "hydra-core",
    "safetensors",
)
FREE_GB = 5.0
SPEEDS = "doctor.json"  # in the output folder: what the last visit measured
_MODEL_STEPS = 300 * 30 * 5  # of the plan that is timed


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), help="folder whose disk is looked at"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the verb; exit code 1 if something must be mended first."""
    console = Console()
    problems = _versions(console) + _disk(options.output, console)
    speeds = measure_speeds()
    speeds.save(options.output / SPEEDS)
    console.print(_table(speeds))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5 * (os.cpu_count() or 1):
        console.print(
            f"[yellow]Load is {load:.1f}: something else is running, these speeds are too low.[/]"
        )
    for problem in problems:
        console.print(f"[red]problem[/] {problem}")
    console.print("[green]Ready.[/]" if not problems else f"{len(problems)} to mend.")
    return 1 if problems else 0


def _versions(console: Console) -> list[str]:
    problems, found = [], {}
    for name in (*PINNED, *NEEDED):
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            problems.append(f"{name} is not installed. Run `make setup`.")
            continue
        if name in PINNED and found[name] != PINNED[name]:
            problems.append(
                f"{name} is {found[name]}, results hold for {PINNED[name]}. Run `make setup`."
            )
    console.print("  ".join(f"{name} {number}" for name, number in found.items()))
    return problems


def _disk(folder: Path, console: Console) -> list[str]:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    console.print(f"{free:.0f} GB free for {folder}, {os.cpu_count()} cores")
    return (
        [f"{free:.1f} GB free for {folder}, {FREE_GB:g} are needed by the quick suite."]
        if free < FREE_GB
        else []
    )


def speeds_of(output: Path) -> Speeds:
    """Returns the speeds that were measured on this machine, measuring them first if nobody has (about ten seconds)."""
    from jepabench.execution.costs import load_speeds

    path = output / SPEEDS
    found = load_speeds(path)
    if found is None:
        found = measure_speeds()
        found.save(path)
    return found


def measure_speeds() -> Speeds:
    """Measures the speeds that estimates are made of, on one thread."""
    import torch

    from jepabench import envs
    from jepabench.execution.costs import Speeds

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    world, seen = (
        envs.make("jepabench/PointMaze-UMaze-v1"),
        envs.make("jepabench/PointMaze-UMaze-v1", pixels=64),
    )
    world.reset(seed=0)
    seen.reset(seed=0)
    action = world.action_space.high
    try:
        return Speeds(
            step=_median(lambda: world.step(action), 300),
            frame=_median(lambda: seen.step(action), 300),
            model_step=_median(_planning(), 5) / _MODEL_STEPS,
            training_step=_median(_training(), 3),
        )
    finally:
        torch.set_num_threads(threads)


def _table(speeds: Speeds) -> Table:
    table = Table("speed on one thread", "median", "", box=None)
    drawing = 1 - speeds.step / speeds.frame
    rows = (
        ("environment step", f"{1 / speeds.step:,.0f} /s", "PointMaze, no picture"),
        (
            "step and 64x64 frame",
            f"{1 / speeds.frame:,.0f} /s",
            f"the renderer takes {drawing:.0%} of it",
        ),
        (
            "CEM plan",
            f"{1000 * speeds.model_step * _MODEL_STEPS:.0f} ms",
            "default JEPA, 300 samples x 30 iterations x 5 steps",
        ),
        (
            "training step",
            f"{1000 * speeds.training_step:.0f} ms",
            "default JEPA, 128 windows of 5 frames",
        ),
    )
    for row in rows:
        table.add_row(*row)
    return table


def _planning() -> Callable[[], object]:
    import torch

    from jepabench.agents.costs.energy import Energy
    from jepabench.agents.planners.base import ActionBounds
    from jepabench.agents.planners.cem import CEMPlanner
    from jepabench.pipeline.config import load_preset
    from jepabench.world_models.base import Context, WorldModel, rollout
    from jepabench.world_models.registry import build_model

    model = build_model("jepa", {**load_preset("world_model", "jepa")["model"], "action_size": 2})
    model.eval().requires_grad_(False)
    assert isinstance(model, WorldModel)
    latents = model.encode(torch.zeros(3, 64, 64, 3, dtype=torch.uint8))
    context, energy = Context(latents[None, :2], torch.zeros(1, 1, 2)), Energy()
    planner = CEMPlanner(num_samples=300, num_elites=30, num_iterations=30)
    bounds = ActionBounds(-torch.ones(2), torch.ones(2))

    def plan() -> object:
        return planner.plan(
            lambda actions: energy(rollout(model, context, actions), latents[2:], actions),
            bounds=bounds,
            generators=[torch.Generator().manual_seed(0)],
        )

    return plan


def _training() -> Callable[[], object]:
    import torch

    from jepabench.pipeline.config import load_preset
    from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
    from jepabench.world_models.training.batches import TrajectoryBatch

    model = JEPA(JEPAConfig(**load_preset("world_model", "jepa")["model"], action_size=2))
    frames = torch.zeros(128, model.config.window, 64, 64, 3, dtype=torch.uint8)
    batch = TrajectoryBatch(
        {"pixels": frames},
        torch.zeros(128, model.config.window - 1, 2),
        torch.zeros(*frames.shape[:2], 4),
    )
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> object:
        loss = torch.stack(
            list(model.losses(batch, torch.Generator().manual_seed(0)).values())
        ).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return optimizer.step()

    return step


def _median(work: Callable[[], object], repeats: int) -> float:
    """Median processor seconds of one call, after one to warm up: what else is running counts less than on a clock."""
    work()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)
