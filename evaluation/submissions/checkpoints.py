"""Checkpoint files of a submission, checked without loading them into a model."""

from __future__ import annotations

import math
import re
import struct
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

from jepabench.envs.registry import list_tasks
from jepabench.envs.task import short_name
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import CHECKPOINTS, parse_json

_CHECK = "checkpoints"
_SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_MAX_HEADER, _MAX_TENSORS, _MAX_UNPACKED = 1 << 22, 10_000, 1 << 29
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '[<|][fiub][1248]', 'fortran_order': (True|False), "
    rb"'shape': \([0-9, ]*\), \} *\n",
    re.DOTALL,
)


def check_checkpoints(files: Mapping[str, bytes]) -> None:
    """Refuse checkpoint files that are damaged, ambiguous or of another task than their folder.

    Args:
        files: Files of the submission, by name.

    Raises:
        SubmissionError: Names the file and what is wrong with it.
    """
    tasks = {short_name(task.id): task.id for task in list_tasks()}
    for name, content in files.items():
        if not name.startswith(f"{CHECKPOINTS}/"):
            continue
        if name.endswith(".safetensors"):
            _check_safetensors(name, content)
        elif name.endswith(".npz"):
            _check_npz(name, content)
        else:
            _check_description(name, content, tasks)


def _check_description(name: str, content: bytes, tasks: Mapping[str, str]) -> None:
    found = parse_json(content, name, check=_CHECK, finite=False)
    if not isinstance(found, dict) or not found:
        raise SubmissionError(_CHECK, f"{name} is not a JSON object, or is empty.")
    if "task_id" not in found:
        if name.endswith("/model.json"):
            raise SubmissionError(_CHECK, f"{name} does not name its task (task_id).")
        return
    own = tasks.get(name.split("/")[1])
    if found["task_id"] != own:
        raise SubmissionError(
            _CHECK,
            f"{name}: task_id is {str(found['task_id'])[:100]!r}, its folder is of {own!r}.",
        )


def _check_safetensors(name: str, content: bytes) -> None:
    def refused(reason: str) -> SubmissionError:
        return SubmissionError(_CHECK, f"{name}: {reason}.")

    length = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
    if not 2 <= length <= min(_MAX_HEADER, len(content) - 8):
        raise refused("it has no safetensors header")
    header = parse_json(content[8 : 8 + length], name, check=_CHECK)
    if not isinstance(header, dict) or len(header) > _MAX_TENSORS:
        raise refused("its header is not a JSON object, or lists too many tensors")
    data, places = memoryview(content)[8 + length :], []
    header.pop("__metadata__", None)
    for key, entry in header.items():
        dtype, shape, begin, end = _read_entry(entry)
        if dtype not in _SIZES or not 0 <= begin <= end <= len(data):
            raise refused(f"tensor {key[:60]!r} has no valid dtype, shape and data_offsets")
        if math.prod(shape) * _SIZES[dtype] != end - begin:
            raise refused(f"tensor {key[:60]!r} of shape {shape} has {end - begin} bytes")
        if not _is_finite(data[begin:end], dtype):
            raise refused(f"tensor {key[:60]!r} holds NaN or infinity")
        places.append((begin, end))
    if not places:
        raise refused("it holds no tensor")
    ends = [0, *(end for _, end in sorted(places))]
    if [begin for begin, _ in sorted(places)] != ends[:-1] or ends[-1] != len(data):
        raise refused("its tensors overlap, or leave bytes that belong to none")


def _read_entry(entry: Any) -> tuple[str, list[int], int, int]:
    """Return dtype, shape and offsets of a tensor; an unknown dtype if any of them is invalid."""
    if isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}:
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        lists = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2
        if isinstance(dtype, str) and lists and len(shape) <= 8:
            if all(type(number) is int and number >= 0 for number in (*shape, *offsets)):
                return dtype, shape, offsets[0], offsets[1]
    return "", [], 0, 0


def _is_finite(data: memoryview, dtype: str) -> bool:
    if dtype == "BF16":
        return bool(((np.frombuffer(data, "<u2") & 0x7F80) != 0x7F80).all())
    if dtype in ("F16", "F32", "F64"):
        return bool(np.isfinite(np.frombuffer(data, f"<f{_SIZES[dtype]}")).all())
    return True


def _check_npz(name: str, content: bytes) -> None:
    """Refuse an archive that numpy would unpickle, or that unpacks to more than it may."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            too_large = sum(entry.file_size for entry in entries) > _MAX_UNPACKED
            if too_large or len(set(names)) != len(names) or len(names) > _MAX_TENSORS:
                raise SubmissionError(_CHECK, f"{name}: it is too large or holds a name twice.")
            for entry in entries:
                with archive.open(entry) as stream:
                    start = stream.read(1024)
                if not _HEADER.match(start):
                    raise SubmissionError(
                        _CHECK, f"{name}: {entry.filename[:60]!r} is not a plain array of numbers."
                    )
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        if isinstance(error, SubmissionError):
            raise
        raise SubmissionError(_CHECK, f"{name} cannot be read: {str(error)[:200]}") from None
