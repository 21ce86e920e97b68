"""``jepabench doctor``: check this machine and measure its speed."""

from __future__ import annotations

import argparse
import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jepabench.cli.arguments import Folder
from jepabench.execution.speeds import MODEL_STEPS, SPEEDS_FILE, Speeds, measure_speeds
from jepabench.pipeline.terminal import make_console

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


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--output", type=Folder(), default=Path("outputs"), help="folder whose disk is checked"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; return 1 if there is a problem to fix."""
    console = make_console()
    problems = _check_versions(console) + _check_disk(options.output, console)
    speeds = measure_speeds()
    speeds.save(options.output / SPEEDS_FILE)
    console.print(_make_table(speeds))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5 * (os.cpu_count() or 1):
        console.print(
            f"[yellow]The load is {load:.1f}. Other processes are running, so the measured speeds "
            "are too low.[/]"
        )
    for problem in problems:
        console.print(f"[red]problem[/] {escape(problem)}", soft_wrap=True)
    console.print("[green]Ready.[/]" if not problems else f"{len(problems)} to fix.")
    return 1 if problems else 0


def _check_versions(console: Console) -> list[str]:
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


def _check_disk(folder: Path, console: Console) -> list[str]:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    console.print(
        f"{free:.0f} GB free for {folder}, {os.cpu_count()} cores", markup=False, soft_wrap=True
    )
    return (
        [f"{free:.1f} GB free for {folder}, {FREE_GB:g} are needed by the quick suite."]
        if free < FREE_GB
        else []
    )


def _make_table(speeds: Speeds) -> Table:
    table = Table("speed on one thread", "median", "", box=None)
    drawing = 1 - speeds.step / speeds.frame
    rows = (
        ("environment step", f"{1 / speeds.step:,.0f} /s", "PointMaze, no frame"),
        (
            "step and 64x64 frame",
            f"{1 / speeds.frame:,.0f} /s",
            f"rendering takes {drawing:.0%} of it",
        ),
        (
            "CEM plan",
            f"{1000 * speeds.model_step * MODEL_STEPS:.0f} ms",
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
