"""``jepabench board``: build the static site of submissions, tasks and claims."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.markup import escape

from jepabench.cli.arguments import ExistingFolder, Folder, Whole
from jepabench.pipeline.terminal import make_console

RESULTS = Path(__file__).parents[2] / "results"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--output", type=Folder(), default=Path("outputs/board"), help="folder of the site"
    )
    parser.add_argument(
        "--results", type=ExistingFolder(), default=RESULTS, help="folder of the results to show"
    )
    parser.add_argument("--films", type=Whole(0), default=0, help="films per submission and task")


def run(options_: argparse.Namespace) -> int:
    """Run the command."""
    from jepabench import envs
    from jepabench.pipeline.suites import known_suites
    from jepabench.results.board.site import Sources, build_board

    console, began = make_console(), time.monotonic()
    sources = Sources(
        submissions=options_.results / "submissions",
        verified=options_.results / "verified",
        tables=options_.results / "tables",
        suites=known_suites(),
        tasks=[task for task in envs.list_tasks() if task.id.startswith("jepabench/")],
        num_films=options_.films,
    )
    entries = build_board(options_.output, sources)
    for name, reason in entries.refused:
        console.print(f"[red]refused[/] {escape(name)}: {escape(reason)}", highlight=False)
    size = sum(path.stat().st_size for path in options_.output.rglob("*") if path.is_file())
    console.print(
        f"{len(entries.current)} submissions, {len(entries.old)} archived, "
        f"{len(entries.refused)} refused; {size / 1e6:.1f} MB in {time.monotonic() - began:.0f} s: "
        f"{options_.output / 'index.html'}",
        soft_wrap=True,
    )
    return 0
