"""Kinds of submissions that must be refused: how each is made, which check must find it, and what
it must say.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tiny_submission import change_manifest, change_rows


class Kind(NamedTuple):
    make: Callable[[Path], object]
    check: str
    reason: str


KINDS: dict[str, Kind] = {}


def hostile(
    check: str, reason: str
) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    def add(make):
        KINDS[make.__name__.replace("_", "-")] = Kind(make, check, reason)
        return make

    return add


def of_manifest(
    name: str, reason: str, change: Callable[[dict], object], check: str = "manifest"
) -> None:
    KINDS[name] = Kind(lambda folder: change_manifest(folder, change), check, reason)


def of_rows(name: str, check: str, reason: str, **columns) -> None:
    """One row, the second, is given other values."""

    def change(rows):
        for column, value in columns.items():
            rows.loc[1, column] = value

    KINDS[name] = Kind(lambda folder: change_rows(folder, change), check, reason)
