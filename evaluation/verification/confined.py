"""A check of a submission in a process of its own, so that a file that breaks a reader breaks that and nothing else."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

from jepabench.evaluation.protocol import Suite
from jepabench.evaluation.submissions.files import SubmissionError, read_manifest_file
from jepabench.evaluation.submissions.manifest import read_manifest
from jepabench.evaluation.verification.confinement import Limits, can_isolate, start

_WALL = 4  # times the processor time; other work may run beside it
_LONGEST_LINE = 1 << 20


def verify_confined(
    folder: Path,
    find_suite: Callable[[str], Suite],
    *,
    level: int = 2,
    progress: Callable[[int], object] | None = None,
    limits: Limits | None = None,
) -> Any:
    """Does ``verification.verify`` in a process with limits, which may write no file and is isolated where the system can do that.

    Args:
        folder, find_suite, level, progress: as for ``verify``.
        limits: of memory and time.

    Returns:
        A ``Verification``; a check that ran into its limits, or crashed, is a refusal like any other.
    """
    from jepabench.evaluation.verification.levels import Verification

    limits = limits or Limits()
    refused = {"name": folder.resolve().name, "level": level}
    try:
        manifest = read_manifest(read_manifest_file(folder), folder.resolve().name)
        suite = find_suite(manifest.suite.name)
    except SubmissionError as error:
        return Verification(**refused, check=error.check, reason=str(error))
    except KeyError as error:
        return Verification(**refused, check="suite", reason=str(error))
    order = {
        "folder": str(folder.absolute()),
        "suite": asdict(suite),
        "level": level,
        "limits": asdict(limits),
    }
    with TemporaryDirectory() as scratch:
        answer, code = _ask(order, Path(scratch), limits, progress)
    if answer is None:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return Verification(
            **refused,
            check="limits",
            reason=f"Its check came to no end ({how}) with {limits.memory >> 20} MiB of memory and {limits.seconds} s of "
            "processor time: it is too large, or made to break what reads it.",
        )
    return Verification(**{**answer, "badges": tuple(answer["badges"])})


def _ask(
    order: dict[str, Any], scratch: Path, limits: Limits, progress: Callable[[int], object] | None
) -> tuple[dict[str, Any] | None, int]:
    """Returns what the process answered, None if it did not, and how it ended."""
    process = start(
        "jepabench.evaluation.verification.confined", isolated=can_isolate(), cwd=scratch
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("The pipes of the process are missing.")
    watch = Timer(_WALL * limits.seconds + 60, lambda: os.killpg(process.pid, signal.SIGKILL))
    watch.daemon = True
    watch.start()
    answer = None
    try:
        stdin.write(json.dumps(order).encode())
        stdin.close()
        while line := stdout.readline(_LONGEST_LINE):
            said = json.loads(line)
            if "done" in said and progress:
                progress(said["done"])
            answer = said.get("answer", answer)
    except (OSError, ValueError):
        answer = None
    finally:
        watch.cancel()
        stdout.close()
        process.kill()
        code = process.wait()
    return answer, code if answer is None else 0


def main() -> None:
    """What the process does: one order from stdin, an answer to stdout."""
    order = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed is no answer
    from jepabench import envs  # noqa: F401  (registers the tasks)
    from jepabench.evaluation.verification.levels import verify

    suite = Suite.from_config(order["suite"])
    Limits(**order["limits"]).apply()

    def find_suite(name: str) -> Suite:
        if name != suite.name:
            raise KeyError(f"Unknown suite {name!r}.")
        return suite

    verification = verify(
        Path(order["folder"]),
        find_suite,
        level=order["level"],
        progress=lambda count: answers.write(json.dumps({"done": count}) + "\n"),
    )
    answers.write(json.dumps({"answer": asdict(verification)}) + "\n")
    answers.close()


if __name__ == "__main__":
    main()
