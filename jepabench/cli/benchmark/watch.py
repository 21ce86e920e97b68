"""``jepabench watch``: the progress of a sweep, live in a browser."""

from __future__ import annotations

import argparse
import json
import time
import webbrowser
from pathlib import Path

from jepabench.cli.arguments import Number, Whole, add_settings
from jepabench.pipeline.terminal import make_console

PORT = 8766


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(
        parser,
        help="settings of `jepabench run` or `sweep`; without suite=, all sweeps below output=",
    )
    parser.add_argument(
        "--port", type=Whole(0, 65535), default=PORT, help="port on this machine; 0 for any"
    )
    parser.add_argument(
        "--every", type=Number(0, 3600), default=2.0, help="seconds between two looks"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(options: argparse.Namespace) -> int:
    """Run the command until it is interrupted."""
    from jepabench.execution.progress import read_progress
    from jepabench.pipeline.run_config import compose_run
    from jepabench.pipeline.stages import SuitePlan
    from jepabench.results.live.server import Channel, LiveServer

    console = make_console()
    root = compose_run(options.overrides)
    output = Path(root["output"])
    asked = any(item.startswith("suite=") for item in options.overrides)
    channel = Channel()
    try:
        server = LiveServer("watch", channel, port=options.port)
    except OSError as error:
        raise ValueError(
            f"Port {options.port} cannot be used: {error.strerror}. Choose another --port."
        ) from error
    console.print(f"{server.url}   (Ctrl-C ends it)", markup=False)
    if not options.no_browser:
        webbrowser.open(server.url)
    try:
        while True:
            saved = [] if asked else sorted((output / "sweeps").glob("*.json"))
            roots = [json.loads(path.read_text(encoding="utf-8")) for path in saved]
            plans = [SuitePlan({**root, **one}) for one in ([{}] if asked else roots)]
            channel.publish(read_progress(output, plans))
            time.sleep(options.every)
    except KeyboardInterrupt:
        console.print("Ended. The sweep goes on.")
    finally:
        server.close()
    return 0
