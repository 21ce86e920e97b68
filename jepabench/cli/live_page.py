"""Arguments of commands that show a live page in the browser, and the server of the page."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jepabench.cli.arguments import Whole

if TYPE_CHECKING:
    from jepabench.results.live.server import Channel, LiveServer


def add_page_arguments(parser: argparse.ArgumentParser, *, port: int) -> None:
    """Add ``--port`` and ``--no-browser`` to a command."""
    parser.add_argument(
        "--port", type=Whole(0, 65535), default=port, help="port on this machine; 0 for any"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def open_page(
    name: str,
    channel: Channel,
    options: argparse.Namespace,
    console: Console,
    execute: Callable[[Mapping[str, Any]], None] | None = None,
) -> LiveServer:
    """Serve a page, print its address and open it in the browser.

    Args:
        name: Template of the page.
        channel: Messages to the page.
        options: Values of ``add_page_arguments``.
        console: Console on which the address is printed.
        execute: Function that receives the commands of the page, or None if it sends none.

    Raises:
        ValueError: The port cannot be used.
    """
    from jepabench.results.live.server import LiveServer

    try:
        server = LiveServer(name, channel, execute, port=options.port)
    except OSError as error:
        raise ValueError(
            f"Port {options.port} cannot be used: {error.strerror}. Choose another --port."
        ) from error
    console.print(f"{server.url}   (Ctrl-C ends it)", markup=False)
    if not options.no_browser:
        webbrowser.open(server.url)
    return server
