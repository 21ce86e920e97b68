"""Files of an evaluation: records, actions and imagined frames of each episode."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.data.files import atomic_write
from jepabench.evaluation.records import (
    EpisodeRecord,
    RecordError,
    frame_records,
    read_records,
    write_records,
)


class Imagination(NamedTuple):
    """Imagined frames of one episode: steps of P plans [P] and uint8 frames [P, H, s, s, 3]."""

    steps: NDArray[np.int64]
    frames: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Records of an agent on episodes of one task, with actions and imagined frames.

    Attributes:
        records: One per episode, in the order of the specs.
        actions: float32 [steps, A] of each episode, by ``episode_name``.
        imagined: By ``episode_name``, for episodes in which the agent imagined something.
    """

    records: tuple[EpisodeRecord, ...]
    actions: Mapping[str, NDArray[np.float32]]
    imagined: Mapping[str, Imagination]


def episode_name(stratum: str, index: int) -> str:
    """Return the name of an episode within one task and split, ``stratum/index``."""
    return f"{stratum}/{index}"


def save_evaluation(directory: Path, evaluation: Evaluation) -> None:
    """Write ``episodes.parquet``, ``actions.npz`` and, if there are frames, ``imagined.npz``."""
    directory.mkdir(parents=True, exist_ok=True)
    _save_arrays(directory / "actions.npz", evaluation.actions)
    frames = {
        f"{name}/{part}": array
        for name, imagination in evaluation.imagined.items()
        for part, array in imagination._asdict().items()
    }
    if frames:
        _save_arrays(directory / "imagined.npz", frames)
    else:
        (directory / "imagined.npz").unlink(missing_ok=True)
    write_records(directory / "episodes.parquet", evaluation.records)


def load_evaluation(directory: Path) -> Evaluation:
    """Read what ``save_evaluation`` wrote.

    Raises:
        RecordError: A file is missing, damaged or inconsistent with the others.
    """
    records = frame_records(read_records(directory / "episodes.parquet"))
    actions = _load_arrays(directory / "actions.npz")
    expected = {episode_name(record.stratum, record.index): record.steps for record in records}
    found = {name: len(array) for name, array in actions.items()}
    if found != expected:
        wrong = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        raise RecordError(
            f"{directory}: actions.npz and episodes.parquet disagree about {', '.join(wrong[:5])}."
        )
    path = directory / "imagined.npz"
    frames = _load_arrays(path) if path.exists() else {}
    names = dict.fromkeys(key.rpartition("/")[0] for key in frames)
    try:
        imagined = {
            name: Imagination(frames[f"{name}/steps"], frames[f"{name}/frames"]) for name in names
        }
    except KeyError as error:
        raise RecordError(f"{path} lacks {error}.") from error
    return Evaluation(records, actions, imagined)


def _save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]  (its stub mixes up allow_pickle)


def _load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # numpy does not close a file that it cannot read, so it is opened here.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RecordError(f"Cannot read arrays from {path}: {error}") from error
