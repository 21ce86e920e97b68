"""Check a submission in a separate process, so that a crashing parser does not crash the caller."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Timer
from typing import Any

from jepabench.evaluation.protocol import Suite
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import read_manifest_file
from jepabench.evaluation.submissions.manifest import read_manifest
from jepabench.evaluation.verification.levels import Verification, verify
from jepabench.evaluation.verification.limits import Limits
from jepabench.evaluation.verification.sandbox import can_sandbox, start_process

_WALL = 4  # times the processor time; other work may run beside it
_LONGEST_LINE = 1 << 20


def verify_confined(
    folder: Path,
    find_suite: Callable[[str], Suite],
    *,
    level: int = 2,
    others: Sequence[Path] = (),
    progress: Callable[[int], object] | None = None,
    limits: Limits | None = None,
) -> Verification:
    """Do what ``levels.verify`` does in a process with limits, in a sandbox where there is one.

    Args:
        folder, find_suite, level, others, progress: As for ``verify``.
        limits: Limits of memory and time.

    Returns:
        The result; a check that crashed or exceeded its limits is a refusal like any other.
    """
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
        "others": [str(path.absolute()) for path in others],
        "limits": asdict(limits),
        "sandboxed": can_sandbox(),
    }
    answer, code, exceeded = _ask(order, limits, progress)
    if answer is None:
        signals = {number.value: number.name for number in signal.Signals}
        number = -code if code < 0 else code - 128
        how = f"signal {signals[number]}" if number in signals else f"exit code {code}"
        return Verification(
            **refused,
            check="limits",
            reason=f"Its check did not finish ({exceeded or how}) with {limits.memory >> 20} MiB "
            f"of memory and {limits.seconds} s of processor time. It is too large, or made to "
            "break a parser.",
        )
    tuples = {"badges": tuple(answer["badges"]), "copies": tuple(answer["copies"])}
    return Verification(**{**answer, **tuples})


def _ask(
    order: dict[str, Any], limits: Limits, progress: Callable[[int], object] | None
) -> tuple[dict[str, Any] | None, int, str]:
    """Return the process's answer or None, its exit status, and the limit that it exceeded."""
    process = start_process(
        "jepabench.evaluation.verification.confined",
        sandboxed=order["sandboxed"],
        limits=limits,
        visible=tuple(map(Path, (order["folder"], *order["others"]))),
    )
    watch = Timer(_WALL * limits.seconds + 60, process.kill)
    watch.daemon = True
    watch.start()
    answer = None
    try:
        process.stdin.write(json.dumps(order).encode())
        process.stdin.close()
        while line := process.stdout.readline(_LONGEST_LINE):
            said = json.loads(line)
            if "done" in said and progress:
                progress(said["done"])
            answer = said.get("answer", answer)
    except (OSError, ValueError):
        answer = None
    finally:
        watch.cancel()
        exceeded = process.exceeded_limit()
        code = process.close(patience=5.0)
    return answer, code, exceeded


def main() -> None:
    """Read one order from stdin, check the submission, and write the answer to stdout."""
    order = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # nothing else that is printed is an answer
    suite = Suite.from_config(order["suite"])
    Limits(**order["limits"]).apply(sandboxed=order["sandboxed"])

    def find_suite(name: str) -> Suite:
        if name != suite.name:
            raise KeyError(f"Unknown suite {name!r}.")
        return suite

    verification = verify(
        Path(order["folder"]),
        find_suite,
        level=order["level"],
        others=[Path(path) for path in order["others"]],
        progress=lambda count: answers.write(json.dumps({"done": count}) + "\n"),
    )
    answers.write(json.dumps({"answer": asdict(verification)}) + "\n")
    answers.close()


if __name__ == "__main__":
    main()
