"""``jepabench verify``: checks submissions as what they are, something that a stranger made."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from evaluation.verification import Verification


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("folders", nargs="+", type=Path, help="submissions")
    parser.add_argument(
        "--level", type=int, choices=(1, 2, 3), default=2,
        help="1 whole and consistent, 2 (default) replayed in the simulator",
    )  # fmt: skip
    parser.add_argument(
        "--record", type=Path, help="write what was found into this folder, for instance results/verified"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object for each submission, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    console = Console(stderr=options.json)
    found = [_verified(folder, options, console) for folder in options.folders]
    return 0 if all(verification.passed for verification in found) else 1


def _verified(folder: Path, options: argparse.Namespace, console: Console) -> Verification:
    from tqdm import tqdm

    from evaluation.verification import verify, write_record
    from jepabench.suites import find_suite

    with tqdm(desc=f"verify {folder.name}", unit="episode", leave=False, disable=not sys.stderr.isatty()) as bar:
        verification = verify(folder, find_suite, level=options.level, progress=bar.update)
    if options.json:
        print(json.dumps(asdict(verification)))
    else:
        _show(verification, console)
    if options.record and verification.passed:
        path = write_record(
            options.record, verification, {"date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        )
        console.print(f"Record: {path}", soft_wrap=True)
    return verification


def _show(verification: Verification, console: Console) -> None:
    rate = f", {verification.episodes / verification.seconds:.0f} a second" if verification.seconds else ""
    counted = f"{verification.episodes} episodes in {verification.seconds:.1f} s{rate}"
    if verification.passed:
        console.print(f"[green]{' and '.join(verification.badges)}[/]: {escape(verification.name)}  [dim]{counted}[/]")
        return
    console.print(f"[red]refused[/]: {escape(verification.name)}  [dim]{verification.check}[/]", soft_wrap=True)
    console.print(verification.reason, markup=False, highlight=False, soft_wrap=True)
    if verification.badges:
        console.print(f"It is {' and '.join(verification.badges)}.")
