"""A small web server for live pages. It listens on localhost only and sends messages as events.

The pages receive messages through server-sent events and send commands as JSON. Requests with
another host name or from another origin are refused, so that no other page in the browser can read
or steer a live page.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
_TEMPLATES = Path(__file__).resolve().parent / "templates"
_PALETTE = Path(__file__).resolve().parents[1] / "media" / "palette.css"
_MAX_COMMAND = 10_000  # bytes
_QUIET_SECONDS = 10.0  # between signs of life to a client
_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"

Message = Mapping[str, Any]


class Channel:
    """Delivers messages to all open pages. A slow page skips messages and gets the newest ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: list[queue.Queue[Message]] = []
        self._last: dict[str, Message] = {}

    def publish(self, message: Message) -> None:
        """Send a message. New pages receive the last message of each ``type``."""
        with self._lock:
            self._last[str(message["type"])] = message
            for client in self._clients:
                if client.full():
                    client.get_nowait()
                client.put_nowait(message)

    def connect(self) -> queue.Queue[Message]:
        """Return a queue of messages for one page."""
        with self._lock:
            client: queue.Queue[Message] = queue.Queue(maxsize=8)
            for message in self._last.values():
                client.put_nowait(message)
            self._clients.append(client)
            return client

    def close(self, client: queue.Queue[Message]) -> None:
        """Stop sending messages to a page."""
        with self._lock:
            self._clients.remove(client)

    @property
    def num_clients(self) -> int:
        """Number of open pages."""
        return len(self._clients)


class LiveServer:
    """Serves one page, its files and its messages until ``close`` is called.

    Args:
        page: Name of the page in ``templates``, such as ``demo``.
        channel: Messages for the page.
        command: Called with the JSON object of each command of a page; a ``ValueError`` or
            ``KeyError`` is shown to the reader. None if the page sends no commands.
        port: 0 for any free port.

    Raises:
        OSError: The port is in use.
    """

    def __init__(
        self,
        page: str,
        channel: Channel,
        command: Callable[[Mapping[str, Any]], None] | None = None,
        *,
        port: int = 0,
    ) -> None:
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, autoescape=True
        )
        html = environment.get_template(f"{page}.html").render(page=page)
        files = {
            "/": (html.encode(), "text/html"),
            f"/{page}.js": ((_TEMPLATES / f"{page}.js").read_bytes(), "text/javascript"),
            "/live.css": ((_TEMPLATES / "live.css").read_bytes(), "text/css"),
            "/palette.css": (_PALETTE.read_bytes(), "text/css"),
        }
        handler = type("Handler", (_Handler,), {"files": files, "channel": channel})
        handler.execute = staticmethod(command) if command else None  # pyright: ignore[reportAttributeAccessIssue]
        self._server = ThreadingHTTPServer((HOST, port), handler)
        handler.port = self._server.server_port  # pyright: ignore[reportAttributeAccessIssue]
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self._server.server_port}/"

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    files: Mapping[str, tuple[bytes, str]] = {}
    channel: Channel
    port: int
    execute: Callable[[Mapping[str, Any]], None] | None = None
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Serve a file or the stream of messages."""
        if not self._is_local():
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path == "/events":
            self._send_events()
        elif self.path in self.files:
            content, kind = self.files[self.path]
            self._reply(HTTPStatus.OK, content, f"{kind}; charset=utf-8")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Run a command."""
        size = self.headers.get("Content-Length", "")
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        if not self._is_local() or not is_json:
            self.close_connection = True
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        if self.path != "/command" or self.execute is None:
            self.close_connection = True
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        if not size.isdecimal() or int(size) > _MAX_COMMAND:
            self.close_connection = True
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            content = json.loads(self.rfile.read(int(size)))
            if not isinstance(content, dict):
                raise ValueError("A command must be a JSON object.")
            self.execute(content)
        except (ValueError, KeyError, TypeError) as error:
            self._reply(HTTPStatus.BAD_REQUEST, str(error).encode(), "text/plain; charset=utf-8")
            return
        self._reply(HTTPStatus.OK, b"{}", "application/json")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _is_local(self) -> bool:
        """Return whether the request names this host and comes from one of its own pages."""
        hosts = [f"{name}:{self.port}" for name in _NAMES]
        origin = self.headers.get("Origin")
        allowed = [f"http://{host}" for host in hosts]
        return self.headers.get("Host") in hosts and (origin is None or origin in allowed)

    def _reply(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()
        self.wfile.write(content)

    def _send_events(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        client = self.channel.connect()
        try:
            while True:
                try:
                    text = f"data: {json.dumps(client.get(timeout=_QUIET_SECONDS))}\n\n"
                except queue.Empty:
                    text = ": still here\n\n"
                self.wfile.write(text.encode())
                self.wfile.flush()
        except (BrokenPipeError, ConnectionError):
            pass
        finally:
            self.channel.close(client)
