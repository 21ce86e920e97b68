"""Arrays of a submission: names, sizes, shapes and types are known before anything is unpacked."""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.registry import get_task, make
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import ACTIONS

_HEADER = 1024  # bytes of an array, at most
_ARRAY_OF = rb"\x93NUMPY\x01\x00..\{'descr': '%s', 'fortran_order': False, 'shape': %s, \} *\n"
_ROUNDING = 1e-5  # beyond the bounds of an action, as in jepabench.envs.core


def read_actions(content: bytes, rows: pd.DataFrame) -> dict[tuple[str, int], NDArray[np.float32]]:
    """Return the actions [control steps, A] of each task and seed, with the lengths of the rows.

    Raises:
        SubmissionError: Other arrays, another shape or type, or an action that is not finite or is
            out of bounds.
    """
    bounds = {str(task): _bounds(str(task)) for task in rows["task_id"].unique()}
    wanted: dict[str, tuple[str, int, tuple[int, int]]] = {}
    for (task, seed), group in rows.groupby(["task_id", "training_seed"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        longest, steps = get_task(str(task)).max_steps, group["steps"].to_numpy()
        if steps.max() > longest or steps.min() < 1:
            raise SubmissionError(
                "rows",
                f"{task}: an episode must have 1 to {longest} control steps, got {steps.min()} to "
                f"{steps.max()}.",
            )
        wanted[f"{task}/{seed}"] = (
            str(task),
            int(seed),
            (int(steps.sum()), len(bounds[str(task)][0])),
        )
    shapes = {name: shape for name, (_, _, shape) in wanted.items()}
    arrays = read_arrays(content, shapes, "<f4", name=ACTIONS, check="actions")
    actions = {}
    for name, (task, seed, _) in wanted.items():
        low, high = bounds[task]
        outside = ~((arrays[name] >= low - _ROUNDING) & (arrays[name] <= high + _ROUNDING)).all(
            axis=1
        )  # NaN is outside
        if outside.any():
            step = int(outside.argmax())
            raise SubmissionError(
                "actions",
                f"{ACTIONS}: {name}, step {step}: {arrays[name][step].tolist()} is not within "
                f"{low.tolist()} to {high.tolist()}.",
            )
        actions[task, seed] = arrays[name]
    return actions


@cache
def _bounds(task_id: str) -> tuple[NDArray[Any], NDArray[Any]]:
    env = make(task_id)
    try:
        return env.action_space.low, env.action_space.high
    finally:
        env.close()


def read_arrays(
    content: bytes, wanted: Mapping[str, tuple[int, ...]], kind: str, *, name: str, check: str
) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive written by ``numpy.savez_compressed``, exactly those wanted.

    Args:
        content: Content of the file.
        wanted: Shapes by name.
        kind: Numpy's description of their type: ``<f4``.
        name: Name of the file.
        check: That refuses it.

    Raises:
        SubmissionError: Another list of arrays, or one of another shape or type.
    """
    try:
        return _Archive(content, kind, name, check).arrays(wanted)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        MemoryError,
        ValueError,
    ) as error:
        if isinstance(error, SubmissionError):
            raise
        raise SubmissionError(
            check, f"{name} cannot be read: {' '.join(str(error)[:300].split())}"
        ) from None


class _Archive:
    def __init__(self, content: bytes, kind: str, name: str, check: str) -> None:
        self.content, self.kind, self.name, self.check = content, np.dtype(kind), name, check

    def arrays(self, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
        if self.content.count(b"PK\x01\x02") > 2 * len(wanted) + 1000:
            raise self._refused(f"has far more than the {len(wanted)} required arrays.")
        with zipfile.ZipFile(BytesIO(self.content)) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            names = [entry.filename for entry in archive.infolist()]
            if sorted(names) != sorted(f"{name}.npy" for name in wanted):
                odd = (
                    sorted(set(names) ^ {f"{name}.npy" for name in wanted})[:5]
                    or "an array is duplicated"
                )
                raise self._refused(f"does not hold exactly the required arrays: {str(odd)[:300]}.")
            found = {
                name: self._array(archive, entries[name], shape) for name, shape in wanted.items()
            }
        size = sum(math.prod(shape) * self.kind.itemsize + 4 * _HEADER for shape in wanted.values())
        if len(self.content) > 1.01 * size + 4 * _HEADER:
            raise self._refused(f"has {len(self.content)} bytes, far more than its arrays need.")
        return found

    def _array(
        self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        size, shown = math.prod(shape) * self.kind.itemsize, entry.filename[:100]
        if entry.flag_bits & 1 or entry.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise self._refused(f"holds {shown} encrypted or in an unusual compression.")
        if not size < entry.file_size <= size + _HEADER:
            raise self._refused(
                f"holds {shown}, which unpacks to {entry.file_size} bytes; it must be "
                f"{list(shape)}."
            )
        with archive.open(entry) as stream:
            data = stream.read(size + _HEADER + 1)
        start = data.index(b"\n", 0, _HEADER) + 1 if b"\n" in data[:_HEADER] else 0
        # numpy would evaluate the header as Python; only this exact line is accepted.
        line = _ARRAY_OF % (
            re.escape(self.kind.str.encode()),
            re.escape(str(tuple(shape)).encode()),
        )
        if not re.fullmatch(line, data[:start], re.DOTALL):
            found = data[:start].decode("ascii", "replace")[10:200].strip()
            raise self._refused(
                f"holds {shown}, which is not an array of {self.kind} {list(shape)} in C order: "
                f"{found!r}."
            )
        if len(data) - start != size:
            raise self._refused(f"holds {shown} of {len(data) - start} bytes for {list(shape)}.")
        return np.frombuffer(data[start:], dtype=self.kind).reshape(shape)

    def _refused(self, reason: str) -> SubmissionError:
        return SubmissionError(self.check, f"{self.name} {reason}")
