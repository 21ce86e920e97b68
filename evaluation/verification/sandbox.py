"""Processes for untrusted work, confined by bubblewrap (https://github.com/containers/bubblewrap).

A sandboxed process sees the interpreter, this package and the folders that it is given, all
read-only, and an empty scratch folder of limited size. It has no network, no sockets, and no view
of other processes. Nothing that it writes outlives it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from jepabench.evaluation.verification.limits import ControlGroup, Limits, Meter, ProcessPoller
from jepabench.evaluation.verification.syscalls import build_filter

PACKAGE = Path(__file__).parents[2]
SCRATCH = Path("/tmp")  # inside a sandbox
_ROOMS = ("envs", "world_models", "agents", "evaluation")  # of this package, that an agent may use
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
_SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/etc/ld.so.cache")
_JOIN_GROUP = 'for file in $0; do echo $$ > "$file" || exit 125; done; exec "$@"'


class Process:
    """A running untrusted process with pipes for stdin and stdout.

    Args:
        process: Its first process.
        meter: Limits all of its processes together; None without a sandbox.
        scratch: Its folder for temporary files; None in a sandbox.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        meter: Meter | None,
        scratch: tempfile.TemporaryDirectory[str] | None,
    ) -> None:
        self._process, self._meter, self._scratch = process, meter, scratch
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("The pipes of the process are missing.")
        self.stdin: IO[bytes] = process.stdin
        self.stdout: IO[bytes] = process.stdout

    def exceeded_limit(self) -> str:
        """Return which limit its processes exceeded together, or an empty string."""
        return self._meter.reason() if self._meter else ""

    def processor_seconds(self) -> float | None:
        """Return the processor time of all its processes so far, or None if it is not known."""
        return self._meter.processor_seconds() if self._meter else None

    def kill(self) -> int:
        """Kill all of its processes and return the exit status of the first."""
        _kill_group(self._process)
        return self._process.wait()

    def close(self, *, patience: float = 0.0) -> int:
        """Kill all processes, remove what they wrote, and return the exit status of the first.

        Args:
            patience: Seconds that it may take to end by itself.
        """
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        code = self.kill()
        for pipe in (self.stdin, self.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        if self._meter:
            self._meter.close()
        if self._scratch:
            self._scratch.cleanup()
        return code


def start_process(
    module: str,
    *,
    sandboxed: bool,
    limits: Limits,
    visible: tuple[Path, ...] = (),
    python_path: tuple[Path, ...] = (),
) -> Process:
    """Start ``python -m module`` with an environment that has nothing from the caller.

    The module calls ``Limits.apply`` before it touches anything untrusted.

    Args:
        module: Module of this package.
        sandboxed: Confine it with bubblewrap (``can_sandbox``); otherwise only ``limits`` hold.
        limits: For all of its processes together.
        visible: Files and folders that it may read, besides the interpreter and this package.
        python_path: Folders searched for modules after this package's; also visible.
    """
    scratch = None if sandboxed else tempfile.TemporaryDirectory()
    home = str(SCRATCH) if scratch is None else scratch.name
    paths = (PACKAGE.parent, *python_path)
    environment = {
        "PATH": os.defpath,
        "HOME": home,
        "TMPDIR": home,
        "USER": "agent",
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "LANG": "C.UTF-8",
    }
    command = [sys.executable, "-m", module]
    if scratch is not None:
        process = _popen(command, environment, cwd=home)
        return Process(process, None, scratch)
    group = ControlGroup.create(limits)
    with tempfile.TemporaryFile() as rules:
        rules.write(build_filter())
        rules.seek(0)
        filtered = ("--seccomp", str(rules.fileno())) if build_filter() else ()
        command = [*_bubblewrap(limits, (*visible, *python_path)), *filtered, "--", *command]
        if group:
            files = " ".join(str(path) for path in group.member_files)
            command = ["/bin/sh", "-c", _JOIN_GROUP, files, *command]
        process = _popen(command, environment, cwd="/", pass_fds=(rules.fileno(),))
    meter = group or ProcessPoller(process.pid, limits, lambda: _kill_group(process))
    return Process(process, meter, None)


@cache
def can_sandbox() -> bool:
    """Return whether bubblewrap is installed and this system lets it create namespaces."""
    if shutil.which("bwrap") is None:
        return False
    command = [*_bubblewrap(Limits(), ()), "--", sys.executable, "-c", ""]
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=60
    )
    return done.returncode == 0


def visible_folders() -> list[Path]:
    """Return what every sandboxed process may read: system libraries, interpreter, this package."""
    base, own = Path(sys.base_prefix), sysconfig.get_paths()
    found = [Path(path) for path in _SYSTEM]
    found += [base / "lib", Path(own["stdlib"]), Path(own["platstdlib"])]
    if sys.prefix != sys.base_prefix:
        found.append(Path(sys.prefix))
    else:
        found += [Path(own["purelib"]), Path(own["platlib"])]
    # Environments may be layered on others: by --system-site-packages, or by a .pth file.
    found += [path for path in map(Path, sys.path) if path.name in _PACKAGE_FOLDERS]
    program = Path(sys.executable)
    while program.is_symlink():
        found.append(program)
        program = program.parent / program.readlink()
    found += [program, PACKAGE]
    found += [(PACKAGE / room).resolve() for room in _ROOMS if (PACKAGE / room).is_symlink()]
    return [path for path in dict.fromkeys(found) if path.exists()]


def _bubblewrap(limits: Limits, visible: tuple[Path, ...]) -> list[str]:
    shown = _without_nested([*visible_folders(), *[path.absolute() for path in visible]])
    binds = [part for path in shown for part in ("--ro-bind", str(path), str(path))]
    links = [
        part
        for path in map(Path, _SYSTEM)
        if path.is_symlink()
        for part in ("--symlink", str(path.readlink()), str(path))
    ]
    return [
        *("bwrap", "--unshare-user", "--unshare-all", "--uid", "65534", "--gid", "65534"),
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox"),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", str(1 << 20), "--perms", "1777", "--tmpfs", "/dev/shm"),
        *("--size", str(limits.scratch), "--perms", "1777", "--tmpfs", str(SCRATCH)),
        *binds,
        *links,
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(SCRATCH)),
    ]


def _without_nested(paths: list[Path]) -> list[Path]:
    """Return the paths that are not inside another one, without linked system folders."""
    links = {Path(path) for path in _SYSTEM if Path(path).is_symlink()}
    kept = [path for path in dict.fromkeys(paths) if path not in links]
    return [path for path in kept if not any(other in path.parents for other in kept)]


def _popen(
    command: list[str], environment: dict[str, str], *, cwd: str, pass_fds: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
