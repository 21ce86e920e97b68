"""Hostile archives, and actions that no world takes."""

import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hostile_kinds import KINDS, Kind, hostile
from tiny_submission import MAZE, ROOM, read_arrays, sign, write_arrays


def raw_actions(name: str, reason: str, change: Callable[[bytes], bytes]) -> None:
    def make(folder):
        (folder / "actions.npz").write_bytes(change((folder / "actions.npz").read_bytes()))
        sign(folder)

    KINDS[name] = Kind(make, "actions", reason)


raw_actions("actions-cut-off", "cannot be read", lambda content: content[:-40])
raw_actions("actions-of-noise", "cannot be read", lambda content: bytes(range(256)) * 10)
raw_actions("actions-without-a-file", "cannot be read", lambda content: b"")
raw_actions(
    "actions-with-a-damaged-stream",
    "cannot be read",
    lambda content: content[:80] + bytes(30) + content[110:],
)


def of_arrays(name: str, reason: str, change: Callable[[dict], object]) -> None:
    def make(folder):
        arrays = read_arrays(folder)
        change(arrays)
        write_arrays(folder, arrays)

    KINDS[name] = Kind(make, "actions", reason)


def changed(key: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict], object]:
    return lambda arrays: arrays.update({key: change(arrays[key])})


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array):
        array[7, 1] = value
        return array

    return change


KEY = f"{ROOM}/0"
of_arrays("action-out-of-range", "not within", changed(KEY, with_value(1.5)))
of_arrays("action-that-is-nan", "not within", changed(KEY, with_value(np.nan)))
of_arrays("action-that-is-infinite", "not within", changed(KEY, with_value(-np.inf)))
of_arrays("actions-in-float64", "unpacks to", changed(KEY, lambda array: array.astype(np.float64)))
of_arrays("actions-in-float16", "unpacks to", changed(KEY, lambda array: array.astype(np.float16)))
of_arrays(
    "actions-in-int32",
    "not an array of float32",
    changed(KEY, lambda array: array.astype(np.int32)),
)
of_arrays(
    "actions-of-the-other-end",
    "not an array of float32",
    changed(KEY, lambda array: array.astype(">f4")),
)
of_arrays("actions-turned", "not an array of float32", changed(KEY, lambda array: array.T.copy()))
of_arrays("actions-in-fortran-order", "not an array of float32", changed(KEY, np.asfortranarray))
of_arrays("actions-flat", "not an array of float32", changed(KEY, np.ravel))
of_arrays("trace-too-long", "unpacks to", changed(KEY, lambda array: np.tile(array, (5, 1))))
of_arrays("trace-too-short", "unpacks to", changed(KEY, lambda array: array[:20]))
of_arrays(
    "bomb-of-zeros", "unpacks to", changed(KEY, lambda array: np.zeros((2_000_000, 2), np.float32))
)
of_arrays("trace-left-out", "exactly the required arrays", lambda arrays: arrays.pop(f"{MAZE}/1"))
of_arrays(
    "trace-of-its-own",
    "exactly the required arrays",
    lambda arrays: arrays.update(extra=np.zeros(3, np.float32)),
)
of_arrays(
    "trace-that-climbs-out",
    "exactly the required arrays",
    lambda arrays: arrays.update({"../../outside": arrays.pop(KEY)}),
)
of_arrays(
    "trace-of-another-task",
    "exactly the required arrays",
    lambda arrays: arrays.update({"jepabench/PushT-v1/0": arrays.pop(KEY)}),
)


@hostile("actions", "not an array of float32|unpacks to")
def pickled_actions(folder):
    arrays = read_arrays(folder)
    arrays[KEY] = np.array([Danger()] * len(arrays[KEY]) * 2, dtype=object)
    write_arrays(folder, arrays)


class Danger:
    """What no check may ever unpickle."""

    def __reduce__(self):
        return Path.touch, (Path("unpickled"),)


def archive(
    folder: Path, change: Callable[[zipfile.ZipFile, dict[str, bytes]], object], **options
) -> None:
    """Writes the archive of actions anew, member by member."""
    with zipfile.ZipFile(folder / "actions.npz") as old:
        members = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(
        folder / "actions.npz", "w", **{"compression": zipfile.ZIP_DEFLATED, **options}
    ) as new:
        change(new, members)
    sign(folder)


def write_all(new: zipfile.ZipFile, members: dict[str, bytes]) -> None:
    for name, content in members.items():
        new.writestr(name, content)


@hostile("actions", "is duplicated")
def trace_twice(folder):
    def change(new, members):
        write_all(new, members)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            new.writestr(f"{KEY}.npy", members[f"{KEY}.npy"])

    archive(folder, change)


@hostile("actions", "unusual compression")
def packed_in_an_unusual_way(folder):
    archive(folder, write_all, compression=zipfile.ZIP_LZMA)


@hostile("actions", "far more")
def archive_of_thousands(folder):
    def change(new, members):
        write_all(new, members)
        for number in range(3000):
            new.writestr(str(number), b"")

    archive(folder, change)


@hostile("actions", "encrypted")
def encrypted_trace(folder):
    content = bytearray((folder / "actions.npz").read_bytes())
    place = content.find(b"PK\x01\x02")
    content[place + 8] |= 1
    (folder / "actions.npz").write_bytes(content)
    sign(folder)


@hostile("actions", "cannot be read")
def bomb_that_gives_its_size_as_small(folder):
    """The directory of the archive says what is asked for; the stream unpacks to 400 times as
    much.
    """
    small: list[int] = []

    def change(new, members):
        small.append(len(members[f"{KEY}.npy"]))
        members[f"{KEY}.npy"] += bytes(400 * small[0])
        write_all(new, members)

    archive(folder, change)
    content = (folder / "actions.npz").read_bytes()
    large = struct.pack("<I", 401 * small[0])
    (folder / "actions.npz").write_bytes(content.replace(large, struct.pack("<I", small[0])))
    sign(folder)


def header(name: str, reason: str, text: str) -> None:
    """An array of the right number of bytes whose own header says something else."""

    def make(folder):
        def change(new, members):
            body = members[f"{KEY}.npy"][128:]
            head = text.ljust(117).encode() + b"\n"
            members[f"{KEY}.npy"] = (
                b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body
            )
            write_all(new, members)

        archive(folder, change)

    KINDS[name] = Kind(make, "actions", reason)


header(
    "array-of-a-trillion",
    "not an array of float32",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 2)}",
)
header(
    "array-of-negative-length",
    "not an array of float32",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-150, 2)}",
)
header(
    "array-of-objects",
    "not an array of float32",
    "{'descr': '|O', 'fortran_order': False, 'shape': (150, 2)}",
)
header(
    "array-whose-header-is-code",
    "not an array of float32",
    "__import__('os').system('touch executed')",
)
header("array-whose-header-is-deep", "not an array of float32", "(" * 90)
