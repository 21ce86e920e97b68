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

from rich.console import Console
from rich.table import Table

PINNED = {"mujoco": "3.17.0", "torch": "2.13.0"}
NEEDED = ("gymnasium", "stable-baselines3", "numpy", "pandas", "pyarrow", "hydra-core", "safetensors")
FREE_GB = 5.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder whose disk is looked at")


def run(options: argparse.Namespace) -> int:
    """Runs the verb; exit code 1 if something must be mended first."""
    console = Console()
    problems = _versions(console) + _disk(options.output, console) + _rooms()
    console.print(_speeds())
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5 * (os.cpu_count() or 1):
        console.print(f"[yellow]Load is {load:.1f}: something else is running, these speeds are too low.[/]")
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
            problems.append(f"{name} is {found[name]}, results hold for {PINNED[name]}. Run `make setup`.")
    console.print("  ".join(f"{name} {number}" for name, number in found.items()))
    return problems


def _disk(folder: Path, console: Console) -> list[str]:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    console.print(f"{free:.0f} GB free for {folder}, {os.cpu_count()} cores")
    return [f"{free:.1f} GB free for {folder}, {FREE_GB:g} are needed by the quick suite."] if free < FREE_GB else []


def _rooms() -> list[str]:
    """Names that something else on the path shadows."""
    import importlib

    home = Path(__file__).parent.parent
    problems = []
    for room in ("envs", "world_models", "agents", "evaluation", "results"):
        file = importlib.import_module(room).__file__
        if file is None or Path(file).parent.parent != home:
            problems.append(f"`import {room}` finds {file}, not ours in {home}. Remove what shadows it from the path.")
    return problems


def _speeds() -> Table:
    table = Table("speed on one thread", "median", "", box=None)
    import torch

    import envs

    torch.set_num_threads(1)
    world, seen = envs.make("jepabench/PointMaze-UMaze-v1"), envs.make("jepabench/PointMaze-UMaze-v1", pixels=64)
    world.reset(seed=0)
    seen.reset(seed=0)
    action = world.action_space.high
    physics = _median(lambda: world.step(action), 300)
    drawn = _median(lambda: seen.step(action), 300)
    table.add_row("environment step", f"{1 / physics:,.0f} /s", "PointMaze, no picture")
    table.add_row("step and 64x64 frame", f"{1 / drawn:,.0f} /s", f"the renderer takes {1 - physics / drawn:.0%} of it")
    table.add_row(
        "CEM plan", f"{1000 * _median(_planning(), 5):.0f} ms", "default JEPA, 300 samples x 30 iterations x 5 steps"
    )
    return table


def _planning() -> Callable[[], object]:
    import torch

    from agents.energy import Energy
    from agents.planners.base import ActionBounds
    from agents.planners.cem import CEMPlanner
    from jepabench.config import load_preset
    from world_models.base import Context, WorldModel, rollout
    from world_models.checkpoint import build_model

    model = (
        build_model("jepa", {**load_preset("world_model", "jepa")["model"], "action_size": 2})
        .eval()
        .requires_grad_(False)
    )
    assert isinstance(model, WorldModel)
    latents = model.encode(torch.zeros(3, 64, 64, 3, dtype=torch.uint8))
    context, energy = Context(latents[None, :2], torch.zeros(1, 1, 2)), Energy()
    planner = CEMPlanner(num_samples=300, num_elites=30, num_iterations=30)
    bounds = ActionBounds(-torch.ones(2), torch.ones(2))

    def plan() -> object:
        return planner.plan(
            lambda actions: energy(rollout(model, context, actions), latents[2:], actions),
            bounds=bounds, generators=[torch.Generator().manual_seed(0)],
        )  # fmt: skip

    return plan


def _median(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of one call, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
