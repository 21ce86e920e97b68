"""``jepabench board``: build the static site of submissions, tasks and claims."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.markup import escape

from jepabench import envs
from jepabench.cli.arguments import ExistingFolder, Folder, Whole
from jepabench.pipeline.terminal import make_console

RESULTS = Path(__file__).parents[2] / "results"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--output", type=Folder(), default=Path("outputs/board"), help="folder of the site"
    )
    parser.add_argument(
        "--results",
        type=ExistingFolder(),
        help="folder of the results to show; default: `results` in the working directory if it has "
        "submissions, else that of JEPA Bench",
    )
    parser.add_argument(
        "--films", type=Whole(0), default=0, help="number of films per submission and task"
    )


def run(options_: argparse.Namespace) -> int:
    """Run the command."""
    from jepabench.pipeline.suites import describe_suites
    from jepabench.results.board.site import Sources, build_board

    console, began = make_console(), time.monotonic()
    results = options_.results or _find_results()
    sources = Sources(
        submissions=results / "submissions",
        verified=results / "verified",
        tables=results / "tables",
        suites=describe_suites(),
        tasks=[task for task in envs.list_tasks() if task.id.startswith("jepabench/")],
        num_films=options_.films,
    )
    entries = build_board(options_.output, sources)
    for name, reason in entries.refused:
        console.print(f"[red]refused[/] {escape(name)}: {escape(reason)}", highlight=False)
    if not (entries.current or entries.old or entries.refused):
        console.print(
            f"There are no submissions below {results}. An installed package contains none: clone "
            "the repository and pass `--results CLONE/results`.",
            markup=False,
            soft_wrap=True,
        )
    size = sum(path.stat().st_size for path in options_.output.rglob("*") if path.is_file())
    console.print(
        f"{len(entries.current)} submissions, {len(entries.old)} archived, "
        f"{len(entries.refused)} refused; {size / 1e6:.1f} MB in {time.monotonic() - began:.0f} s: "
        f"{options_.output / 'index.html'}",
        soft_wrap=True,
    )
    return 0


def _find_results() -> Path:
    own = Path("results")
    return own if (own / "submissions").is_dir() else RESULTS
