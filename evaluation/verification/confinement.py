"""Processes that may not do much: bounded memory, processor time and files, and no network where the system can cut it off."""

from __future__ import annotations

import math
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Alone in its namespaces: no network, and no look into other processes, where the secrets of whoever started it are.
_ALONE = (
    "unshare",
    "--user",
    "--map-current-user",
    "--net",
    "--ipc",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
)
HOME = Path(__file__).parents[3]  # the folder that holds the package


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may use.

    Attributes:
        memory: bytes beyond what it has when the limits begin.
        seconds: of processor time.
        file_bytes: largest file that it may write; 0 for none.
    """

    memory: int = 2 << 30
    seconds: int = 1800
    file_bytes: int = 0

    def apply(self) -> None:
        """Limits this process, from now on."""
        pages = (
            int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
            if sys.platform == "linux"
            else 0
        )
        size = pages * resource.getpagesize() + self.memory
        for kind, value in (
            (resource.RLIMIT_AS, size),
            (resource.RLIMIT_CPU, self.seconds + math.ceil(time.process_time())),
            (resource.RLIMIT_FSIZE, self.file_bytes),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, 256),
        ):
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


@cache
def can_isolate() -> bool:
    """Returns whether a process without network or sight of others can be started here (Linux with user namespaces)."""
    return shutil.which("unshare") is not None and _succeeds([*_ALONE, "true"])


def start(
    module: str, *arguments: str, isolated: bool, python_path: tuple[Path, ...] = (), cwd: Path
) -> subprocess.Popen[bytes]:
    """Starts ``python -m module`` of this release with an environment that holds nothing of ours, and pipes to talk through.

    It limits itself before it touches what it is not to trust (``Limits.apply``).

    Args:
        module: of this release.
        arguments: of the module.
        isolated: without network or sight of other processes; see ``can_isolate``.
        python_path: folders that are searched for modules after this release's.
        cwd: an empty folder, also its home.
    """
    prefix = list(_ALONE) if isolated else []
    environment = {
        "PATH": os.defpath,
        "HOME": str(cwd),
        "TMPDIR": str(cwd),
        "PYTHONPATH": os.pathsep.join(str(path) for path in (HOME, *python_path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "LANG": "C.UTF-8",
    }
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _succeeds(command: list[str]) -> bool:
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=20
    )
    return done.returncode == 0
