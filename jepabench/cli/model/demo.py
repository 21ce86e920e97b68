"""``jepabench demo``: watch a planner think, in a browser."""

from __future__ import annotations

import argparse
import threading
import webbrowser
from pathlib import Path

from jepabench.cli.arguments import Whole
from jepabench.pipeline.checkpoints import find_checkpoint, reference_names
from jepabench.pipeline.terminal import make_console

PORT = 8765


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "checkpoint",
        nargs="?",
        default="two-room",
        help="name of a reference checkpoint, or a folder that `jepabench train` made "
        "(default: two-room)",
    )
    parser.add_argument(
        "--port", type=Whole(0, 65535), default=PORT, help="port on this machine; 0 for any"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(options: argparse.Namespace) -> int:
    """Run the command until it is interrupted."""
    import torch

    from jepabench import envs  # noqa: F401  (registers the tasks)
    from jepabench.results.live.demo import Demo
    from jepabench.results.live.server import Channel, LiveServer

    torch.set_num_threads(1)  # models are small; a second thread costs more than it gives
    console = make_console()
    checkpoints = {name: find_checkpoint(name) for name in reference_names()}
    if options.checkpoint not in checkpoints:
        checkpoints[options.checkpoint] = Path(find_checkpoint(options.checkpoint))
    channel = Channel()
    demo = Demo(checkpoints, options.checkpoint, channel)
    try:
        server = LiveServer("demo", channel, demo.command, port=options.port)
    except OSError as error:
        demo.close()
        raise ValueError(
            f"Port {options.port} cannot be used: {error.strerror}. Choose another --port."
        ) from error
    console.print(f"{server.url}   (Ctrl-C ends it)", markup=False)
    if not options.no_browser:
        webbrowser.open(server.url)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print("Ended.")
    finally:
        demo.close()
        server.close()
    return 0
