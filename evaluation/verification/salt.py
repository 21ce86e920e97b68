"""The secret from which private episodes are drawn."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

SALT_VARIABLE = "JEPABENCH_PRIVATE_SALT"  # no longer read
_MIN_BYTES, _MAX_BYTES = 32, 4096


def read_salt(path: Path) -> bytes:
    """Read the salt from a file with mode 600, or from a pipe such as ``/dev/fd/3``.

    It is never taken from the command line or the environment: both are visible to other processes,
    and a command line also ends up in the shell's history.

    Raises:
        ValueError: No such file, readable by others, not the caller's own, too short or too long.
    """
    if os.environ.get(SALT_VARIABLE):
        raise ValueError(
            f"{SALT_VARIABLE} is set but is not read any more. Put the salt into a file with mode "
            "600, "
            "unset the variable, and use --salt-file."
        )
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError(f"--salt-file {path}: {error.strerror}.") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.geteuid():
                raise ValueError(
                    f"--salt-file {path}: only you may read it. Run `chmod 600` on a file of your "
                    "own."
                )
        elif not stat.S_ISFIFO(found.st_mode):
            raise ValueError(f"--salt-file {path}: neither a regular file nor a pipe.")
        salt = file.read(_MAX_BYTES + 1).strip()
    if not _MIN_BYTES <= len(salt) <= _MAX_BYTES:
        raise ValueError(
            f"--salt-file {path}: the salt has {len(salt)} bytes, it needs {_MIN_BYTES} to "
            f"{_MAX_BYTES}. "
            "Make one with `openssl rand -hex 32`."
        )
    return salt


def commit_to_salt(salt: bytes) -> str:
    """Return a hash that a published salt can be compared with later."""
    return hashlib.sha256(b"jepabench private salt\n" + salt).hexdigest()
