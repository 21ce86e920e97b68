"""Run a planning session in the background and connect it to its page."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jepabench.envs.errors import unknown_name
from jepabench.results.live.planning_session import BUDGETS, COSTS, PlanningSession
from jepabench.results.live.server import Channel

RATES = (1.0, 3.0, 10.0, 0.0)  # control steps per second; 0 is as fast as possible
_COMMANDS = (
    *("goal", "restart", "paused", "single", "rate"),
    *("checkpoint", "planner", "budget", "cost"),
)
_LOGGER = logging.getLogger(__name__)
_IDLE = 0.2  # seconds between looks at the commands while paused


class Demo:
    """Steps a planning session in a thread of its own, which alone touches the world.

    Args:
        checkpoints: Folders of world models by the name that the page shows.
        name: The first one.
        channel: Receives the messages for the page.
        rate: Control steps per second; one of ``RATES``.

    Raises:
        ValueError: The world model cannot be shown; see ``PlanningSession``.
    """

    def __init__(
        self, checkpoints: Mapping[str, Path], name: str, channel: Channel, *, rate: float = 10.0
    ) -> None:
        self._checkpoints, self._channel = checkpoints, channel
        self._commands: queue.Queue[Mapping[str, Any]] = queue.Queue()
        self._name, self._rate, self._paused, self._single = name, rate, False, False
        self._session = PlanningSession(checkpoints[name])
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._publish_settings()
        self._thread.start()

    def command(self, content: Mapping[str, Any]) -> None:
        """Check a command of the page and queue it.

        Raises:
            UnknownNameError: An unknown command or value.
            ValueError: A value of the wrong type.
        """
        for name, value in content.items():
            if name not in _COMMANDS:
                raise unknown_name("command", name, _COMMANDS)
            if name == "checkpoint" and value not in self._checkpoints:
                raise unknown_name("checkpoint", value, self._checkpoints)
            if name == "rate" and value not in RATES:
                raise unknown_name("rate", value, map(str, RATES))
            if name == "goal" and not _is_place(value):
                raise ValueError(f"goal must be two numbers from 0 to 1, got {value!r}.")
        self._commands.put(dict(content))

    def close(self) -> None:
        """Stop the session."""
        self._ended.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            self._handle_command(block=self._paused)
            if self._paused and not self._single:
                continue
            self._single = False
            self._try(lambda: self._channel.publish(self._session.step()))
            left = (1 / self._rate if self._rate else 0.0) - (time.monotonic() - began)
            self._ended.wait(max(0.0, left))

    def _handle_command(self, *, block: bool) -> None:
        try:
            content = self._commands.get(timeout=_IDLE) if block else self._commands.get_nowait()
        except queue.Empty:
            return
        self._try(lambda: self._apply(content))
        self._publish_settings()

    def _apply(self, content: Mapping[str, Any]) -> None:
        settings = {
            name: value for name, value in content.items() if name in ("planner", "budget", "cost")
        }
        if "checkpoint" in content:
            self._session = PlanningSession(self._checkpoints[content["checkpoint"]])
            self._name = content["checkpoint"]
        if settings:
            self._session.change(settings)
        if "goal" in content:
            self._session.move_goal(content["goal"])
        if content.get("restart"):
            self._session.restart()
        self._rate = float(content.get("rate", self._rate))
        self._paused = bool(content.get("paused", self._paused))
        self._single = bool(content.get("single", self._single))
        self._channel.publish(self._session.describe())

    def _try(self, action: Callable[[], object]) -> None:
        """Do something, and show an error on the page instead of ending the demonstration."""
        try:
            action()
        except Exception as error:  # the page shows it; the next command may be valid
            _LOGGER.debug("demo", exc_info=True)
            self._channel.publish({"type": "error", "text": str(error)})

    def _publish_settings(self) -> None:
        self._channel.publish(
            {
                "type": "settings",
                "choices": {
                    "checkpoint": list(self._checkpoints),
                    "planner": self._session.planners,
                    "budget": list(BUDGETS),
                    "cost": list(COSTS),
                },
                "settings": {
                    **asdict(self._session.settings),
                    "checkpoint": self._name,
                    "rate": int(self._rate),
                },
                "paused": self._paused,
            }
        )


def _is_place(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(x, (int, float)) and 0 <= x <= 1 for x in value)
    )
