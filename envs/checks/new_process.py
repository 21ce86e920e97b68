"""Call a function in a new Python process that has the module search path of this one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jepabench.envs.task import load_entry_point

# The search path travels as an argument and not as PYTHONPATH, which cannot hold all file names.
_PROGRAM = (
    "import pickle, sys; sys.path[:] = pickle.loads(sys.stdin.buffer.read(int(sys.argv[1])));"
    "from jepabench.envs.checks.new_process import answer; answer()"
)


class NewProcessError(RuntimeError):
    """The other process failed; the message is the last line that it wrote."""


def call_in_new_process(
    function: str, *arguments: Any, paths: Sequence[str] | None = None, timeout: float
) -> Any:
    """Return the result of a function that a new process calls.

    Args:
        function: ``module:name``.
        arguments: Its positional arguments, which can be pickled.
        paths: Module search path of the process; by default that of this one.
        timeout: Time after which the process is ended [s].

    Raises:
        NewProcessError: The process failed or took too long.
    """
    search_path = pickle.dumps([path or str(Path.cwd()) for path in paths or sys.path])
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(len(search_path))],
            input=search_path + pickle.dumps((function, arguments)),
            capture_output=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"},
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise NewProcessError(f"it did not finish within {timeout:.0f} s") from None
    if child.returncode:
        lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NewProcessError(lines[-1] if lines else f"exit code {child.returncode}")
    return pickle.loads(child.stdout)


def answer() -> None:
    """Read a function and its arguments from stdin, call it, and write the result to stdout."""
    function, arguments = pickle.loads(sys.stdin.buffer.read())
    output, sys.stdout = sys.stdout, sys.stderr  # output of the function must not mix with it
    output.buffer.write(pickle.dumps(load_entry_point(function)(*arguments)))
