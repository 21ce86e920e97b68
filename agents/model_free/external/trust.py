"""Permission to load pickles, which can run any code. A process has it only if the user said so."""

from __future__ import annotations

from pathlib import Path

_trusted = False


class UntrustedFileError(ValueError):
    """Raised for a file that may run code, if the user did not allow it."""


def set_trust(trusted: bool) -> None:
    """Allow or forbid this process to load pickles (``--trust``, ``trust=True``)."""
    global _trusted
    _trusted = trusted


def is_trusted() -> bool:
    """Return whether this process may load pickles."""
    return _trusted


def require_trust(path: str | Path) -> None:
    """Check that this process may load a pickle.

    Raises:
        UntrustedFileError: The user did not allow it.
    """
    if not _trusted:
        raise UntrustedFileError(
            f"{path} contains a pickle, which can run any code when it is loaded. If you trust "
            "whoever made it, add --trust (in Python: trust=True)."
        )
