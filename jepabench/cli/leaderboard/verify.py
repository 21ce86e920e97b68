"""``jepabench verify``: checks submissions as what they are, something that a stranger made."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from jepabench.evaluation.verification.levels import Verification
    from jepabench.evaluation.verification.rerun import Rerun


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("folders", nargs="+", type=Path, help="submissions")
    parser.add_argument(
        "--level",
        type=int,
        choices=(1, 2, 3),
        default=2,
        help="1 whole and consistent; 2 (default) replayed in the simulator; 3 re-run on private episodes: runs the agent's code, "
        "which has to be installed, or in --code",
    )
    parser.add_argument(
        "--record",
        type=Path,
        help="write what was found into this folder, for instance results/verified",
    )
    parser.add_argument(
        "--memory", type=float, default=2.0, help="GiB that the check, or the agent, may use (2)"
    )
    parser.add_argument(
        "--seconds", type=int, default=1800, help="processor seconds of the same (1800)"
    )
    parser.add_argument(
        "--code",
        type=Path,
        action="append",
        default=[],
        help="level 3: folder with the agent's code",
    )
    parser.add_argument(
        "--episodes",
        type=int,
        help="level 3: private episodes of each task and stratum (the suite's)",
    )
    parser.add_argument(
        "--allow-exposed",
        action="store_true",
        help="level 3: run it even where the system can not cut off its network",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a JSON object for each submission, and nothing else",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    console = Console(stderr=options.json)
    found = [_verified(folder, options, console) for folder in options.folders]
    return 0 if all(verification.passed for verification in found) else 1


def _verified(folder: Path, options: argparse.Namespace, console: Console) -> Verification:
    from tqdm import tqdm

    from jepabench.evaluation.verification.confined import verify_confined
    from jepabench.evaluation.verification.confinement import Limits
    from jepabench.evaluation.verification.levels import write_record
    from jepabench.evaluation.verification.rerun import verify_rerun
    from jepabench.pipeline.suites import find_suite

    again = _rerun_settings(options)  # a secret that is missing is said at once
    with tqdm(
        desc=f"verify {folder.name}", unit="episode", leave=False, disable=not sys.stderr.isatty()
    ) as bar:
        limits = Limits(memory=int(options.memory * 2**30), seconds=options.seconds)
        level = min(2, options.level)
        verification = verify_confined(
            folder, find_suite, level=level, progress=bar.update, limits=limits
        )
        if again:
            verification = verify_rerun(
                verification, folder, find_suite, again, progress=bar.update
            )
    if options.json:
        print(json.dumps(asdict(verification)))
    else:
        _show(verification, console)
    if options.record and verification.passed:
        path = write_record(options.record, verification, _about())
        console.print(f"Record: {path}", soft_wrap=True)
    return verification


def _about() -> dict[str, Any]:
    """Returns when, and with and on what, a record is made."""
    from jepabench.pipeline.machine import describe_machine

    here = {key: str(value) for key, value in describe_machine().items()}
    on = {key: here.pop(key) for key in ("processor", "cores", "system")}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": here,
        "machine": on,
    }


def _rerun_settings(options: argparse.Namespace) -> Rerun | None:
    if options.level < 3:
        return None
    from jepabench.evaluation.verification.confinement import Limits
    from jepabench.evaluation.verification.rerun import Rerun, private_salt

    if options.episodes is not None and options.episodes < 2:
        raise ValueError(f"--episodes is 2 or more, got {options.episodes}.")
    limits = Limits(
        memory=int(options.memory * 2**30), seconds=options.seconds, file_bytes=16 << 20
    )
    return Rerun(
        salt=private_salt(),
        limits=limits,
        python_path=tuple(path.resolve() for path in options.code),
        num_episodes=options.episodes,
        allow_exposed=options.allow_exposed,
    )


def _show(verification: Verification, console: Console) -> None:
    rate = (
        f", {verification.episodes / verification.seconds:.0f} a second"
        if verification.seconds
        else ""
    )
    counted = f"{verification.episodes} episodes in {verification.seconds:.1f} s{rate}"
    if verification.passed:
        console.print(
            f"[green]{' and '.join(verification.badges)}[/]: {escape(verification.name)}  [dim]{counted}[/]",
            soft_wrap=True,
        )
        return
    console.print(
        f"[red]refused[/]: {escape(verification.name)}  [dim]{verification.check}[/]",
        soft_wrap=True,
    )
    console.print(verification.reason, markup=False, highlight=False, soft_wrap=True)
    if verification.badges:
        console.print(f"It is {' and '.join(verification.badges)}.")
