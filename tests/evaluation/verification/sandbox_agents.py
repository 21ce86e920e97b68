"""Agents that try to leave their sandbox; each raises what it achieved.

Never import this elsewhere.
"""

import ctypes
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

PLACE = Path(__file__).parent


class Base:
    observation_keys = ("achieved_goal", "desired_goal")

    def __init__(self, *, task_id):
        self.task_id = task_id

    def reset(self, specs):
        self.count = len(specs)
        found = self.attack()
        raise RuntimeError(f"DONE {found}")

    def attack(self):
        raise NotImplementedError

    def act(self, observations, active):
        return np.zeros((len(active), 2), np.float32)

    @property
    def model_steps(self):
        return np.zeros(self.count, np.int64)


def attempt(work):
    """Return the result of ``work``, or the name of the error that stopped it."""
    try:
        return work()
    except OSError as error:
        return type(error).__name__


class Writer(Base):
    """Writes into the release, the environment, its own code, and the system."""

    def attack(self):
        import jepabench

        root = Path(jepabench.__file__).parent
        places = [root, root.parent / "results/verified", root / "conf", PLACE, Path(sys.prefix)]
        places += [
            Path("/"),
            Path("/dev"),
            Path("/usr/lib"),
            Path("/proc/sys/kernel"),
            Path("/etc"),
        ]
        return [str(place) for place in places if attempt(lambda p=place: self.write(p)) is True]

    def write(self, place):
        place.mkdir(parents=True, exist_ok=True)
        (place / "forged.pth").write_text("forged", encoding="utf-8")
        return True


class HomeReader(Base):
    """Reads the home folder of the user, the project's records and the password file."""

    def attack(self):
        home = Path((PLACE / "home").read_text(encoding="utf-8"))
        names = [home, home / ".ssh", Path("/etc/shadow"), Path("/etc/passwd"), Path("/home")]
        names += [Path(sys.prefix).parent / name for name in ("results/verified", ".git")]
        return [str(name) for name in names if name.exists()]


class SaltReader(Base):
    """Searches environments, command lines, memory and open files for the salt."""

    def attack(self):
        parts = [b"".join(f"{k}={v}".encode() for k, v in os.environ.items())]
        for folder in Path("/proc").glob("[0-9]*"):
            for name in ("environ", "cmdline"):
                parts.append(attempt(lambda f=folder, n=name: (f / n).read_bytes()))
        for number in os.listdir("/proc/self/fd"):
            target = attempt(lambda n=number: os.readlink(f"/proc/self/fd/{n}"))
            parts.append(str(target).encode())
        text = b" ".join(part for part in parts if isinstance(part, bytes))
        return text.decode(errors="replace")[:1500]


class Notes(Base):
    """Leaves a note for the process of the next training seed."""

    def attack(self):
        places = ("/tmp", "/var/tmp", "/dev/shm", str(Path.home()), os.getcwd(), str(PLACE))
        notes = [Path(place) / "note-of-an-earlier-seed" for place in dict.fromkeys(places)]
        read = [str(note) for note in notes if attempt(note.exists) is True]
        for note in notes:
            attempt(lambda n=note: n.write_text("seen", encoding="utf-8"))
        return read


class UnixSocket(Base):
    """Connects to daemons through socket files, one of them beside its own code."""

    def attack(self):
        def connect(path):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
            return True

        paths = [
            str(PLACE / "daemon"),
            (PLACE / "outside").read_text(encoding="utf-8"),
            "\0abstract-daemon",
        ]
        return [path for path in paths if attempt(lambda p=path: connect(p)) is True]


class Network(Base):
    """Opens connections and sends packets."""

    def attack(self):
        port = int((PLACE / "port").read_text(encoding="utf-8"))
        found = []
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for host in ("127.0.0.1", "192.0.2.1"):

                def send(host=host, kind=kind):
                    with socket.socket(socket.AF_INET, kind) as client:
                        client.settimeout(2)
                        client.connect((host, port))
                        client.send(b"hello")
                    return True

                if attempt(send) is True:
                    found.append(f"{host} {kind}")
        return found


class ForkBomb(Base):
    """Starts children until something stops it."""

    def attack(self):
        started = 0
        for _ in range(2000):
            if os.fork() == 0:
                time.sleep(30)
                os._exit(0)
            started += 1
        return f"{started} children"


class ThreadBomb(Base):
    """Starts threads until something stops it."""

    def attack(self):
        import threading

        for _ in range(2000):
            threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        return "2000 threads"


class MemoryOfChildren(Base):
    """Uses far more memory than one process may, in children."""

    def attack(self):
        for _ in range(8):
            if os.fork() == 0:
                block = bytearray(200 << 20)
                block[::4096] = b"x" * len(block[::4096])
                time.sleep(20)
                os._exit(0)
        time.sleep(10)
        return "1600 MiB held"


class SharedMemory(Base):
    """Fills shared memory, which belongs to no process."""

    def attack(self):
        libc = ctypes.CDLL(None, use_errno=True)
        made = [libc.shmget(0, 1 << 20, 0o1600), libc.memfd_create(b"hidden", 0)]
        held = attempt(lambda: Path("/dev/shm/large").write_bytes(bytes(8 << 20)) and True)
        return [
            *(name for name, code in zip(("shmget", "memfd"), made, strict=True) if code >= 0),
            held,
        ]


class Disk(Base):
    """Writes many files, each below the limit of a file."""

    def attack(self):
        written = 0
        for number in range(400):
            Path(f"fill-{number}").write_bytes(bytes(1 << 20))
            written += 1
        return f"{written} MiB"


class Orphan(Base):
    """Leaves a child in a session of its own that signals as long as it lives."""

    def reset(self, specs):
        self.count = len(specs)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for descriptor in (0, 1, 2):
                    os.close(descriptor)
                while True:
                    time.sleep(0.05)
            os._exit(0)


class Tracer(Base):
    """Traces and reads other processes, makes namespaces, and uses keyrings."""

    def attack(self):
        libc = ctypes.CDLL(None, use_errno=True)
        done = []
        child = os.fork()
        if child == 0:
            time.sleep(5)
            os._exit(0)
        for name, call in {
            "ptrace": lambda: libc.ptrace(16, child, None, None),
            "process_vm_readv": lambda: libc.process_vm_readv(child, None, 0, None, 0, 0),
            "unshare": lambda: libc.unshare(0x10000000),
            "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
            "chroot": lambda: libc.chroot(b"/tmp"),
            "keyctl": lambda: libc.syscall(250, 0, -3, 0),
        }.items():
            if call() >= 0:
                done.append(name)
        seen = [name for name in os.listdir("/proc") if name.isdigit()]
        return f"{done}, {len(seen)} processes"


class Program(Base):
    """Runs programs of the system."""

    def attack(self):
        names = ("/bin/sh", "/usr/bin/curl", "/usr/bin/git", "/usr/bin/ssh", "/usr/bin/docker")
        return [name for name in names if attempt(lambda n=name: self.start(n)) is True]

    def start(self, name):
        subprocess.run([name, "--version"], check=False, timeout=5)
        return True


class Unprivileged(Base):
    """Reports its capabilities and identity."""

    def attack(self):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.startswith(("CapEff", "NoNewPrivs", "Seccomp:"))]
        return f"{kept} uid {os.getuid()} host {os.uname().nodename}"
