"""A time limit for code that may never return."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class TimeLimitExceeded(BaseException):
    """Code took too long. Not an ``Exception``, so that a broad handler does not swallow it."""


@contextlib.contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Interrupt the block after some time.

    Without SIGALRM (Windows), and outside of the main thread, the block is not interrupted.

    Raises:
        TimeLimitExceeded: The block took longer.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not (hasattr(signal, "SIGALRM") and in_main_thread):
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise TimeLimitExceeded(f"no result within {seconds:.0f} s")

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
