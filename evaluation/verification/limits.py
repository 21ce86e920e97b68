"""Resource limits of an untrusted process and of everything that it starts."""

from __future__ import annotations

import math
import resource
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

_CGROUP = Path("/sys/fs/cgroup")
_PROC = Path("/proc")
_BASE_MEMORY = 512 << 20  # bytes of the interpreter and its libraries
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What an untrusted process may use.

    Attributes:
        memory: Bytes of each process beyond what it has when the limits are applied; all processes
            of a sandbox together may use 512 MiB more than this.
        seconds: Processor time of each process [s].
        file_bytes: Size of the largest file that it may write; 0 for none.
        processes: Processes and threads of a sandbox together.
        scratch: Bytes of all temporary files of a sandbox together.
    """

    memory: int = 2 << 30
    seconds: int = 1800
    file_bytes: int = 0
    processes: int = 64
    scratch: int = 256 << 20

    @property
    def total_memory(self) -> int:
        """Bytes that all processes of a sandbox may use together."""
        return self.memory + _BASE_MEMORY

    def apply(self, *, sandboxed: bool = False) -> None:
        """Limit this process and its future children.

        Args:
            sandboxed: Also limit the number of processes, which is counted per user namespace.
        """
        limits = [
            (resource.RLIMIT_AS, _current_memory() + self.memory),
            (resource.RLIMIT_CPU, self.seconds + math.ceil(time.process_time())),
            (resource.RLIMIT_FSIZE, self.file_bytes),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, 256),
        ]
        if sandboxed:
            limits.append((resource.RLIMIT_NPROC, self.processes))
        for kind, value in limits:
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


class Meter(Protocol):
    """Something that limits all processes of a sandbox together."""

    def reason(self) -> str:
        """Return which limit was exceeded, or an empty string."""
        ...

    def processor_seconds(self) -> float | None:
        """Return the processor time that all processes have used, or None if it is not known."""
        ...

    def close(self) -> None:
        """Release the meter after the sandbox has ended."""
        ...


class ControlGroup:
    """Control groups that bound the memory and the number of processes (cgroup v2, or v1).

    Args:
        folders: The group's folder for each controller: ``memory``, ``pids``, and ``cpuacct`` where
            processor time is counted.
        limits: What to bound.
    """

    def __init__(self, folders: dict[str, Path], limits: Limits) -> None:
        self._folders, self._limits = folders, limits

    @classmethod
    def create(cls, limits: Limits) -> ControlGroup | None:
        """Create a group with these limits, or return None where this process may not."""
        name = f"jepabench-{uuid4().hex}"
        for parents in _cgroup_parents():
            folders = {kind: parent / name for kind, parent in parents.items()}
            accounts = folders.pop("cpuacct", None)
            try:
                for folder in set(folders.values()):
                    folder.mkdir()
                _write_limits(folders, limits)
            except OSError:
                for folder in set(folders.values()):
                    _remove(folder)
                continue
            if accounts and _create(accounts):
                folders["cpuacct"] = accounts
            return cls(folders, limits)
        return None

    @property
    def member_files(self) -> list[Path]:
        """Files into which a process writes its id to join the group."""
        return [folder / "cgroup.procs" for folder in sorted(set(self._folders.values()))]

    def reason(self) -> str:
        """Return which limit was exceeded, or an empty string."""
        memory, pids = self._folders["memory"], self._folders["pids"]
        if any(
            _count(memory / name, "oom_kill") for name in ("memory.events", "memory.oom_control")
        ):
            return _memory_reason(self._limits)
        if _count(pids / "pids.events", "max"):
            return _processes_reason(self._limits)
        return ""

    def processor_seconds(self) -> float | None:
        """Return the processor time of all its processes, also of those that have ended."""
        folder = self._folders.get("cpuacct")
        if folder is None:
            return None
        if (folder / "cpuacct.usage").exists():  # version 1
            return int((folder / "cpuacct.usage").read_text(encoding="utf-8")) / 1e9
        if (folder / "cpu.stat").exists():
            return _count(folder / "cpu.stat", "usage_usec") / 1e6
        return None

    def close(self) -> None:
        """Remove the group; its processes must have been killed."""
        for folder in set(self._folders.values()):
            for _ in range(50):
                if _remove(folder):
                    break
                time.sleep(0.1)


class ProcessPoller:
    """Kill a process tree that exceeds its limits, on systems without control groups.

    Args:
        process_id: Root of the tree.
        limits: What to bound.
        kill: Called once when a limit is exceeded.
    """

    def __init__(self, process_id: int, limits: Limits, kill: object) -> None:
        self._root, self._limits, self._kill = process_id, limits, kill
        self._reason, self._done = "", threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def reason(self) -> str:
        """Return which limit was exceeded, or an empty string."""
        return self._reason

    def processor_seconds(self) -> float | None:
        """Return None: processes that end between two polls are not seen."""
        return None

    def close(self) -> None:
        """Stop polling."""
        self._done.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            count, memory = _tree_usage(self._root)
            if count > self._limits.processes:
                self._reason = _processes_reason(self._limits)
            elif memory > self._limits.total_memory:
                self._reason = _memory_reason(self._limits)
            if self._reason and callable(self._kill):
                self._kill()
                return


def _memory_reason(limits: Limits) -> str:
    return f"its processes exceeded {limits.total_memory >> 20} MiB of memory together"


def _processes_reason(limits: Limits) -> str:
    return f"it exceeded {limits.processes} processes and threads"


def _current_memory() -> int:
    if sys.platform != "linux":
        return 0
    pages = int((_PROC / "self/statm").read_text(encoding="utf-8").split()[0])
    return pages * resource.getpagesize()


def _tree_usage(root: int) -> tuple[int, int]:
    """Return the number of threads below ``root`` and their anonymous and shared memory [bytes]."""
    parents, threads, memory = {}, {}, {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            lines = (folder / "status").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        values = dict(line.split(":", 1) for line in lines if ":" in line)
        number = int(folder.name)
        parents[number] = int(values.get("PPid", 0))
        threads[number] = int(values.get("Threads", 1))
        sizes = [values.get(key, "0 kB").split()[0] for key in ("RssAnon", "RssShmem")]
        memory[number] = sum(map(int, sizes)) * 1024
    inside, added = {root}, True
    while added:
        new = {child for child, parent in parents.items() if parent in inside} - inside
        added = bool(new)
        inside |= new
    inside -= {root}
    return sum(threads[item] for item in inside), sum(memory[item] for item in inside)


def _cgroup_parents() -> list[dict[str, Path]]:
    """Return the folders in which a group may be created, cgroup v2 first, deepest first."""
    try:
        lines = (_PROC / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    own = {
        kind: path
        for _, kinds, path in (line.split(":", 2) for line in lines)
        for kind in kinds.split(",")
    }
    found: list[dict[str, Path]] = []
    if (_CGROUP / "cgroup.controllers").exists() and "" in own:
        place = _CGROUP / own[""].lstrip("/")
        for folder in (place, *place.parents):
            if folder == _CGROUP.parent:
                break
            found.append({"memory": folder, "pids": folder, "cpuacct": folder})
    elif {"memory", "pids"} <= own.keys():
        kinds = {"memory", "pids", "cpuacct"} & own.keys()
        places = {kind: _CGROUP / kind / own[kind].lstrip("/") for kind in kinds}
        found.append(
            {kind: place if place.is_dir() else _CGROUP / kind for kind, place in places.items()}
        )
    return found


def _write_limits(folders: dict[str, Path], limits: Limits) -> None:
    memory, pids = folders["memory"], folders["pids"]
    if (memory / "memory.limit_in_bytes").exists():  # version 1
        (memory / "memory.limit_in_bytes").write_text(str(limits.total_memory), encoding="utf-8")
        _write_if_there(memory / "memory.memsw.limit_in_bytes", limits.total_memory)
    else:
        if not (memory / "memory.max").exists():
            (memory.parent / "cgroup.subtree_control").write_text("+memory +pids", encoding="utf-8")
        (memory / "memory.max").write_text(str(limits.total_memory), encoding="utf-8")
        _write_if_there(memory / "memory.swap.max", 0)
        _write_if_there(memory / "memory.oom.group", 1)
    (pids / "pids.max").write_text(str(limits.processes), encoding="utf-8")


def _write_if_there(path: Path, value: int) -> None:
    if path.exists():
        path.write_text(str(value), encoding="utf-8")


def _count(path: Path, key: str) -> int:
    try:
        pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return 0
    return sum(int(value) for name, value in pairs if name == key)


def _create(folder: Path) -> bool:
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return True


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
