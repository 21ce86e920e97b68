"""Exclusive access of one process to a directory, also when several machines share it.

A kernel lock decides wherever it is visible. It is released when its process ends for any reason,
so there are no stale locks on one machine. Machines that do not see each other's kernel locks (some
network file systems) rely on the heartbeat of ``.owner.json``.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from jepabench.envs.data.files import write_atomically

_POLL_SECONDS = 0.2
_ORPHAN_SECONDS = 10.0
_log = logging.getLogger(__name__)


class StageError(RuntimeError):
    """A stage that cannot be run; the message says what to do."""


class StageBusyError(StageError):
    """Another process is working in the directory."""


class StageLostError(StageError):
    """Another machine took over the directory because it received no heartbeat."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a directory.

    Attributes:
        pid, host, boot: Process id, host name and the kernel's boot id.
        token: Identifies this acquisition.
        since: Time of the acquisition.
        deaths: Number of preceding owners in a row that died while they held the directory.
    """

    pid: int
    host: str
    boot: str
    token: str
    since: str
    deaths: int = 0


class StageLock:
    """Exclusive access to a directory, held in a ``with`` block.

    Args:
        directory: An existing directory.
        stale_after: Seconds without a heartbeat after which another machine's lock is abandoned.
        wait: Seconds to wait for another process; 0 gives up at once.

    Raises:
        StageBusyError: On entry, if another process still holds it after ``wait`` seconds.
    """

    def __init__(self, directory: Path, *, stale_after: float = 60.0, wait: float = 0.0) -> None:
        if stale_after <= 0 or wait < 0:
            raise ValueError(
                "stale_after must be above 0 s and wait at least 0 s, "
                f"got {stale_after} and {wait}."
            )
        self.directory, self.stale_after, self.wait = directory, stale_after, wait
        self.owner = Owner(
            os.getpid(),
            socket.gethostname(),
            _boot_id(),
            secrets.token_hex(8),
            datetime.now(UTC).isoformat(),
        )
        self._path = directory / ".owner.json"
        self._kernel = FileLock(directory / ".lock", thread_local=False)
        self._ended = threading.Event()
        self._heart = threading.Thread(
            target=self._beat, name=f"heartbeat of {directory}", daemon=True
        )

    def __enter__(self) -> StageLock:
        began, told = time.monotonic(), False
        while not self._acquired():
            # A child that was forked while its parent died holds a copy of the lock for a moment.
            patience = max(self.wait, _ORPHAN_SECONDS) if self._holder_is_dead() else self.wait
            if time.monotonic() - began >= patience:
                raise StageBusyError(
                    f"{self.directory} is being worked on by {self._holder()}. "
                    "Wait for it, or stop it."
                )
            if not told:
                _log.info(
                    "Waiting for %s: it is being worked on by %s.", self.directory, self._holder()
                )
                told = True
            time.sleep(min(_POLL_SECONDS, self.stale_after / 4))
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._heart.join()
        if self._is_ours():
            self._path.unlink(missing_ok=True)
        self._kernel.release()

    def confirm(self) -> None:
        """Check that this process still holds the directory.

        Raises:
            StageLostError: Another process took it over.
        """
        if not self._is_ours():
            raise StageLostError(
                f"{self.directory} was taken over by {self._holder()}, because this process gave "
                f"no heartbeat for {self.stale_after:g} s. The work of this process is discarded."
            )

    def _acquired(self) -> bool:
        try:
            self._kernel.acquire(blocking=False)
        except Timeout:
            return False
        try:
            owner = _read_owner(self._path)
            # This process has the kernel lock, so an owner on this machine is dead. One on another
            # machine may not see the lock.
            if owner and owner.boot != self.owner.boot and self._is_fresh():
                self._kernel.release()
                return False
            if owner:  # a process that ends normally removes the file
                self.owner = replace(self.owner, deaths=owner.deaths + 1)
            self._write_owner()
        except BaseException:
            self._kernel.release()
            raise
        return True

    def _is_fresh(self) -> bool:
        # Both times come from the file system: clocks of different machines are never compared.
        probe = self.directory / ".lock"
        os.utime(probe)
        age = probe.stat().st_mtime - self._path.stat().st_mtime
        # A heartbeat from the future was left before a clock was set back; no living owner kept it.
        return abs(age) < self.stale_after

    def _write_owner(self) -> None:
        write_atomically(self._path, json.dumps(asdict(self.owner)))

    def _is_ours(self) -> bool:
        owner = _read_owner(self._path)
        return owner is not None and owner.token == self.owner.token

    def _holder(self) -> str:
        owner = _read_owner(self._path)
        return (
            f"process {owner.pid} on {owner.host} since {owner.since}"
            if owner
            else "another process"
        )

    def _holder_is_dead(self) -> bool:
        owner = _read_owner(self._path)
        return owner is not None and owner.boot == self.owner.boot and not _is_alive(owner.pid)

    def _beat(self) -> None:
        while not self._ended.wait(self.stale_after / 4) and self._is_ours():
            with suppress(OSError):  # a network file system may fail briefly; confirm() decides
                os.utime(self._path)


def find_owner(directory: Path, *, stale_after: float = 60.0) -> Owner | None:
    """Return the process that works in a directory, or None. Does not take the lock."""
    path = directory / ".owner.json"
    owner = _read_owner(path)
    if owner is None:
        return None
    if owner.boot == _boot_id():
        return owner if _is_alive(owner.pid) else None
    try:
        return owner if abs(time.time() - path.stat().st_mtime) < stale_after else None
    except OSError:
        return None


def _read_owner(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:  # not Linux
        return socket.gethostname()
