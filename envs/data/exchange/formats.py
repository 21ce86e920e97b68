"""The dataset formats that can be imported and exported."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.exchange import hdf5, lance, lerobot, minari
from jepabench.envs.data.exchange.recordings import Source, read_episodes
from jepabench.envs.data.manifest import DatasetError, Provenance
from jepabench.envs.data.writing import write_dataset
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import find_task

_ENDINGS = {".h5": "hdf5", ".hdf5": "hdf5", ".lance": "lance"}
_MINARI_ID = re.compile(r"[\w-]+(/[\w-]+)*-v\d+")


@dataclass(frozen=True, slots=True)
class Format:
    """A dataset format.

    Attributes:
        title: Its name in messages.
        detect: Whether a path holds a dataset of this format.
        open: Opens a dataset.
        export: Writes a dataset to a new path.
        lossy_export: Writes one that is smaller and loses a little, if the format can.
    """

    title: str
    detect: Callable[[Path], bool]
    open: Callable[[str], Source]
    export: Callable[[EpisodeDataset, str], object]
    lossy_export: Callable[[EpisodeDataset, str], object] | None = None


FORMATS: Mapping[str, Format] = {
    "lerobot": Format(
        "LeRobot v3",
        lambda path: (path / "meta" / "info.json").is_file(),
        lambda path: lerobot.open_lerobot(Path(path)),
        lambda dataset, path: lerobot.export_lerobot(dataset, Path(path)),
        lambda dataset, path: lerobot.export_lerobot(dataset, Path(path), video=True),
    ),
    "hdf5": Format(
        "HDF5 of stable-worldmodel",
        lambda path: _ENDINGS.get(path.suffix) == "hdf5",
        lambda path: hdf5.open_hdf5(Path(path)),
        lambda dataset, path: hdf5.export_hdf5(dataset, Path(path)),
    ),
    "lance": Format(
        "Lance of stable-worldmodel",
        lambda path: _ENDINGS.get(path.suffix) == "lance",
        lambda path: lance.open_lance(Path(path)),
        lambda dataset, path: lance.export_lance(dataset, Path(path)),
    ),
    "minari": Format("Minari", lambda path: False, minari.open_minari, minari.export_minari),
}


def import_dataset(
    origin: str,
    path: str | Path,
    *,
    format: str | None = None,
    task_id: str | None = None,
    behaviour: str = "not stated",
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    rate: str | None = None,
    pixels: int | None = None,
) -> EpisodeDataset:
    """Write a dataset of another library as a dataset of this suite.

    Args:
        origin: Path of the dataset, or its Minari id.
        path: The new folder.
        format: Key of ``FORMATS``; by default the path decides.
        task_id: Task of the episodes; not needed for exports of this suite.
        behaviour: Name of the policy that acted.
        split: The split that the episodes belong to.
        columns: Field to column, see ``read_episodes``.
        rate: "control" or "model", see ``read_episodes``.
        pixels: Side to which frames are resized; None keeps square frames as they are.

    Raises:
        DatasetError: The dataset cannot be read, does not fit the task, or does not state it.
        UnknownNameError: No such format, task, field or column.
        ImportError: The format needs a package that is not installed.
    """
    chosen = find_format(origin, format)
    source = FORMATS[chosen].open(origin)
    provenance = source.provenance
    if task_id is not None:
        task_id = find_task(task_id).id
        if provenance is None:
            provenance = Provenance.of(task_id, behaviour=behaviour, split=split)
        elif provenance.task_id != task_id:
            raise DatasetError(f"{origin} states the task {provenance.task_id}, not {task_id}.")
    if provenance is None:
        raise DatasetError(
            f"{origin} does not state its task. Name it, for instance --task jepabench/PushT-v1."
        )
    episodes = read_episodes(source, provenance.task_id, columns=columns, rate=rate, pixels=pixels)
    return write_dataset(path, episodes, provenance=provenance)


def export_dataset(
    dataset: EpisodeDataset, target: str, *, format: str | None = None, video: bool = False
) -> None:
    """Write a dataset in the format of another library.

    Args:
        dataset: Dataset of a registered task.
        target: New path, or a Minari id.
        format: Key of ``FORMATS``; by default the ending of ``target`` decides.
        video: Whether frames become lossy videos (LeRobot only).

    Raises:
        DatasetError: The target exists, the format is not known, or it has no videos.
        UnknownNameError: No such format.
        ImportError: The format needs a package that is not installed.
    """
    format = format or _ENDINGS.get(Path(target).suffix)
    if format is None:
        raise DatasetError(f"Name the format of {target} with --format: {', '.join(FORMATS)}.")
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    chosen = FORMATS[format]
    if format != "minari":
        path = Path(target)
        if path.exists():
            raise DatasetError(f"{path} exists already. Choose another path, or delete it first.")
        path.parent.mkdir(parents=True, exist_ok=True)
    if not video:
        chosen.export(dataset, target)
    elif chosen.lossy_export is None:
        raise DatasetError(f"{chosen.title} has no videos. Export it without --video.")
    else:
        chosen.lossy_export(dataset, target)


def find_format(origin: str, format: str | None = None) -> str:
    """Return the format of a dataset: the given one, or that of the path, or Minari.

    Raises:
        UnknownNameError: No such format.
        DatasetError: There is no dataset at the path, and it is no Minari id either.
    """
    if format is not None:
        if format not in FORMATS:
            raise unknown_name("format", format, FORMATS)
        return format
    path = Path(origin)
    found = next((name for name, known in FORMATS.items() if known.detect(path)), None)
    if found is None and path.exists():
        raise DatasetError(
            f"The format of {origin} is not recognised. Name it with --format: "
            f"{', '.join(FORMATS)}."
        )
    if found is None and not _MINARI_ID.fullmatch(origin):
        raise DatasetError(
            f"There is no dataset at {origin!r}, and it is not the id of a Minari dataset, such as "
            "'jepabench/two-room-random-v0'."
        )
    return found or "minari"
