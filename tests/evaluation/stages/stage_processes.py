"""Work for stages and processes that run it."""

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[3]
CONFIG = {"agent": {"name": "cem", "horizon": 5}, "seed": 0, "progress": True}
FINISHED = {".lock", "done.json", "log.txt", "model", "stage.json"}  # after `write_result`


def write_result(directory):
    (directory / "model").mkdir(exist_ok=True)
    (directory / "model" / "weights.bin").write_bytes(b"1234")
    (directory / "log.txt").write_text("fine", encoding="utf-8")


def never(directory):
    raise AssertionError("this work must not be done")


def start(script, *arguments):
    """Starts Python with ``script``; it talks over stdin and stdout, one line at a time."""
    prelude = (
        "import sys\nfrom pathlib import Path\nfrom jepabench.evaluation.stages.stage import *\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


WORKER = """
    def work(directory):
        checkpoint = directory / "checkpoint.txt"
        checkpoint.write_text("half way", encoding="utf-8")
        print("working", flush=True)
        sys.stdin.readline()
        (directory / "result.txt").write_text("done", encoding="utf-8")

    print(run_stage(Path(sys.argv[1]), {"seed": 0}, work), flush=True)
"""
