"""``jepabench watch``: watch the progress of a sweep in a browser."""

from __future__ import annotations

import argparse
import time

from jepabench.cli.arguments import Number, add_settings
from jepabench.cli.live_page import add_page_arguments, open_page
from jepabench.pipeline.terminal import make_console

PORT = 8766


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(
        parser,
        help="settings of `jepabench run` or `sweep`; without suite=, all sweeps and scaling runs "
        "below output=",
    )
    add_page_arguments(parser, port=PORT)
    parser.add_argument(
        "--every", type=Number(0, 3600), default=2.0, help="seconds between two updates"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command until it is interrupted."""
    from jepabench.execution.progress import read_progress
    from jepabench.execution.status import load_sweeps
    from jepabench.pipeline.run_config import compose_run
    from jepabench.pipeline.stages import SuitePlan
    from jepabench.results.live.server import Channel

    console = make_console()
    config = compose_run(options.overrides)
    asked = any(item.startswith("suite=") for item in options.overrides)
    channel = Channel()
    server = open_page("watch", channel, options, console)
    try:
        while True:
            plans = [SuitePlan(config)] if asked else load_sweeps(config)
            channel.publish(read_progress(config.output, plans))
            time.sleep(options.every)
    except KeyboardInterrupt:
        console.print("Ended. The sweep continues.")
    finally:
        server.close()
    return 0
