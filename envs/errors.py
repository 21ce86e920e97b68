"""Errors that every room raises, and the message for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownNameError(KeyError):
    """A name that is not registered. The message suggests the nearest known name."""

    def __str__(self) -> str:
        return str(self.args[0])


class InvalidActionError(ValueError):
    """An action has the wrong shape, is not finite, or is out of bounds; the world is unchanged."""


def unknown_name(kind: str, name: object, allowed: Iterable[str]) -> UnknownNameError:
    """Return the error for a name that is not in ``allowed``.

    Args:
        kind: What the name stands for, such as ``task`` or ``stratum``.
        name: What the caller gave; it need not be a string.
        allowed: All known names.
    """
    names = sorted(allowed)
    word = str(name).casefold()
    full = {candidate.casefold(): candidate for candidate in names}
    short = {folded.split("/")[-1]: candidate for folded, candidate in full.items()}
    near = [
        full[match] for match in difflib.get_close_matches(word, list(full), n=1, cutoff=0.5)
    ] or [
        short[match]
        for match in difflib.get_close_matches(word.split("/")[-1], list(short), n=1, cutoff=0.4)
    ]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
