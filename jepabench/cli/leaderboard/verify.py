"""``jepabench verify``: check submissions, treating all of their contents as untrusted."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from jepabench.cli.arguments import ExistingFile, ExistingFolder, Folder, HubFolder, Number, Whole
from jepabench.pipeline.terminal import make_console

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from jepabench.evaluation.protocol import Suite
    from jepabench.evaluation.verification.levels import Verification
    from jepabench.evaluation.verification.rerun import Rerun

_HIGHEST_LEVEL = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("folders", nargs="+", type=HubFolder("submission"), help="submissions, or hf://user/name")
    add(
        "--level",
        type=Whole(1, _HIGHEST_LEVEL),
        metavar="{1,2,3}",
        default=2,
        help="1: complete and consistent; 2 (default): replayed in the simulator; "
        "3: re-run on private episodes, which runs the agent's code (installed, or in --code) "
        "in a sandbox",
    )
    add(
        "--record",
        type=Folder(),
        help="write the result into this folder, such as results/verified",
    )
    add(
        "--pin",
        type=Folder(),
        help="add a replayed reference row to this file of pins, such as "
        "evaluation/pinned_actions.json",
    )
    add(
        "--beside",
        type=ExistingFolder(),
        help="folder of submissions to search for copies (default: that of the submission)",
    )
    add(
        "--memory",
        type=Number(0, 4096),
        default=2.0,
        help="memory limit of the check and of the agent in GiB (2)",
    )
    add(
        "--seconds",
        type=Whole(1),
        default=1800,
        help="limit of processor time of the check and of the agent in seconds (1800)",
    )
    _add_rerun_arguments(parser)
    add(
        "--json", action="store_true", help="print one JSON object per submission, and nothing else"
    )


def _add_rerun_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of level 3."""
    add = parser.add_argument
    add(
        "--code",
        type=ExistingFolder(),
        action="append",
        default=[],
        help="level 3: folder with the agent's code; the agent can read all of it",
    )
    add(
        "--episodes",
        type=Whole(1),
        help="level 3: private episodes per task and stratum, at least the suite's",
    )
    add(
        "--salt-file",
        type=ExistingFile(),
        help="level 3: file (mode 600) or pipe (/dev/fd/N) with the secret of the private episodes",
    )
    add(
        "--allow-exposed",
        action="store_true",
        help="level 3: run the agent without a sandbox where bubblewrap is missing",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    console = make_console(stderr=options.json)
    settings = _rerun_settings(options)
    found = [_verify(folder, options, settings, console) for folder in options.folders]
    return 0 if all(verification.passed for verification in found) else 1


def _verify(
    folder: Path, options: argparse.Namespace, settings: Rerun | None, console: Console
) -> Verification:
    from tqdm import tqdm

    from jepabench.evaluation.verification.confined import verify_confined
    from jepabench.evaluation.verification.records import write_record
    from jepabench.evaluation.verification.rerun import verify_rerun
    from jepabench.pipeline.suites import find_suite

    with tqdm(
        desc=f"verify {folder.name}", unit="episode", leave=False, disable=not sys.stderr.isatty()
    ) as bar:
        verification = verify_confined(
            folder,
            find_suite,
            level=min(2, options.level),
            others=_other_submissions(folder, options.beside),
            progress=bar.update,
            limits=_limits(options),
        )
        if settings:
            verification = verify_rerun(
                verification, folder, find_suite, settings, progress=bar.update
            )
    if options.json:
        # CI services read "##" as a command. The escaped text is the same JSON.
        print(json.dumps(asdict(verification)).replace("##", "#\\u0023"))
    else:
        _show(verification, console)
    if options.record:
        path = write_record(options.record, verification, _about())
        console.print(f"Record: {path}", markup=False, soft_wrap=True)
    if options.pin and "replayed" in verification.badges and verification.passed:
        _pin(folder, options.pin, find_suite)
        console.print(f"Pinned in: {options.pin}", soft_wrap=True)
    return verification


def _pin(folder: Path, pins: Path, find_suite: Callable[[str], Suite]) -> None:
    """Add the actions of a reference row to a file of pins."""
    from jepabench.evaluation.references import pin_reference
    from jepabench.evaluation.submissions.files import ACTIONS
    from jepabench.evaluation.submissions.submission import read_submission

    manifest = read_submission(folder, find_suite).manifest
    suite = manifest.suite.name, manifest.suite.version
    pin_reference(manifest.agent.name, manifest.files[ACTIONS], suite, pins)


def _other_submissions(folder: Path, beside: Path | None) -> list[Path]:
    """Return the other folders with a manifest in the same place."""
    place = beside or folder.absolute().parent
    found = [path.parent for path in sorted(place.glob("*/submission.json"))]
    return [path for path in found if path.resolve() != folder.resolve()]


def _about() -> dict[str, Any]:
    """Return the date, versions and machine of a record."""
    from jepabench.evaluation.machine import describe_machine

    here = {key: str(value) for key, value in describe_machine().items()}
    on = {key: here.pop(key) for key in ("processor", "cores", "system")}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": here,
        "machine": on,
    }


def _limits(options: argparse.Namespace, file_bytes: int = 0) -> Any:
    from jepabench.evaluation.verification.limits import Limits

    return Limits(
        memory=int(options.memory * 2**30), seconds=options.seconds, file_bytes=file_bytes
    )


def _rerun_settings(options: argparse.Namespace) -> Rerun | None:
    if options.level < _HIGHEST_LEVEL:
        return None
    from jepabench.evaluation.verification.rerun import Rerun
    from jepabench.evaluation.verification.salt import read_salt

    if options.salt_file is None:
        raise ValueError(
            "Level 3 needs a secret to draw its episodes: --salt-file FILE, with mode 600. "
            "Create one with `(umask 077; openssl rand -hex 32 > FILE)`."
        )
    salt = read_salt(options.salt_file)
    code = tuple(path.resolve() for path in options.code)
    for path in code:
        if options.salt_file.resolve().is_relative_to(path) or Path.home().is_relative_to(path):
            raise ValueError(
                f"--code {path} contains the salt file or your home folder, "
                "which the agent could read."
            )
    return Rerun(
        salt=salt,
        limits=_limits(options, file_bytes=16 << 20),
        python_path=code,
        num_episodes=options.episodes,
        allow_exposed=options.allow_exposed,
    )


def _show(verification: Verification, console: Console) -> None:
    from jepabench.evaluation.submissions.text import clean_text, escape_log

    def write(text: str) -> None:
        shown = escape_log(clean_text(text, multiline=True))
        console.print(shown, markup=False, highlight=False, soft_wrap=True)

    rate = (
        f", {verification.episodes / verification.seconds:.0f} per second"
        if verification.seconds
        else ""
    )
    name = escape(clean_text(verification.name))
    counted = f"{verification.episodes} episodes in {verification.seconds:.1f} s{rate}"
    if verification.passed:
        badges = " and ".join(verification.badges)
        console.print(f"[green]{badges}[/]: {name}  [dim]{counted}[/]", soft_wrap=True)
    else:
        console.print(f"[red]refused[/]: {name}  [dim]{verification.check}[/]", soft_wrap=True)
        write(verification.reason)
        if verification.badges:
            write(f"It is {' and '.join(verification.badges)}.")
    for sentence in verification.copies:
        write(sentence)
