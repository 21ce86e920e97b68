"""Objects that installed packages add by entry points."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path


def find_entry_point(group: str, name: str) -> metadata.EntryPoint | None:
    """Return the entry point ``name`` of a group, or None if no installed distribution declares it.

    Nothing is imported; call ``load()`` on the result.
    """
    return next((point for point in _entry_points(group) if point.name == name), None)


def list_entry_points(group: str) -> list[str]:
    """Return the names that installed distributions declare in ``group``, sorted."""
    return sorted({point.name for point in _entry_points(group)})


def _entry_points(group: str) -> list[metadata.EntryPoint]:
    # The command line puts the working directory on the path. It may hold an untrusted checkpoint.
    here = Path.cwd()
    path = [entry for entry in sys.path if Path(entry).resolve() != here]
    return [
        point
        for distribution in metadata.distributions(path=path)
        for point in distribution.entry_points.select(group=group)
    ]
