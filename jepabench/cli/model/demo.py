"""``jepabench demo``: watch a planner think, in a browser."""

from __future__ import annotations

import argparse
import threading
from contextlib import closing
from pathlib import Path

from jepabench.cli.live_page import add_page_arguments, open_page
from jepabench.envs import get_task
from jepabench.pipeline.checkpoints import REFERENCES, find_checkpoint, reference_tasks
from jepabench.pipeline.terminal import make_console

PORT = 8765


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "checkpoint",
        nargs="?",
        default="two-room",
        help="name of a reference checkpoint, or a folder that `jepabench train` wrote "
        "(default: two-room)",
    )
    add_page_arguments(parser, port=PORT)


def run(options: argparse.Namespace) -> int:
    """Run the command until it is interrupted."""
    import torch

    from jepabench.results.live.demo import Demo
    from jepabench.results.live.goal_placement import FAMILIES
    from jepabench.results.live.server import Channel

    torch.set_num_threads(1)  # a second thread slows small models down
    console = make_console()
    checkpoints = {
        name: REFERENCES / name
        for name, task_id in reference_tasks().items()
        if get_task(task_id).family in FAMILIES
    }
    if options.checkpoint not in checkpoints:
        checkpoints[options.checkpoint] = Path(find_checkpoint(options.checkpoint))
    channel = Channel()
    with (
        closing(Demo(checkpoints, options.checkpoint, channel)) as demo,
        closing(open_page("demo", channel, options, console, demo.command)),
    ):
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            console.print("Ended.")
    return 0
