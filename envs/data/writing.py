"""Write episodes as a dataset folder, after checking them against their task."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepabench.envs.data.episodes import (
    EPISODE_FIELDS,
    OBSERVATION_FIELDS,
    STEP_FIELDS,
    Episode,
    EpisodeDataset,
    encode_seed,
    map_field,
)
from jepabench.envs.data.manifest import (
    DatasetError,
    FieldSpec,
    Manifest,
    Provenance,
    fingerprint,
)
from jepabench.envs.data.task_layout import TaskLayout, check_rate


def write_dataset(
    path: str | Path, episodes: Iterable[Episode], *, provenance: Provenance | None = None
) -> EpisodeDataset:
    """Write episodes as a dataset. Either the complete folder appears, or none.

    Args:
        path: The new folder.
        episodes: Episodes of one task with the same layout. They are read one at a time, so they
            need not fit into memory.
        provenance: Origin of the episodes. Without it, the manifest states only their task, and
            shapes and ranges are not compared with the task.

    Raises:
        DatasetError: The folder exists, there are no episodes, or their tasks or layouts differ
            from each other or from the provenance.
    """
    path = Path(path)
    if path.exists():
        raise DatasetError(f"{path} exists already. Choose another path, or delete it first.")
    folder = path.with_name(f".{path.name}.{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        # Without a provenance, the episodes need not have the shapes of the task.
        checked = episodes if provenance is None else _check_episodes(episodes)
        task_id, layout, table = _stream(folder, checked)
        provenance = provenance or Provenance.of(task_id, behaviour="not stated")
        if provenance.task_id != task_id:
            raise DatasetError(
                f"The episodes are of {task_id!r}, but the provenance states "
                f"{provenance.task_id!r}."
            )
        check_rate(provenance)
        seal(folder, provenance, layout, table)
        folder.rename(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return EpisodeDataset.open(path)


def seal(
    folder: Path,
    provenance: Provenance,
    layout: Mapping[str, FieldSpec],
    table: Mapping[str, ArrayLike],
) -> None:
    """Complete a folder that contains all frame fields.

    Args:
        folder: The folder.
        provenance: Origin of the episodes.
        layout: Layout of each frame field, by name.
        table: Values of ``EPISODE_FIELDS`` for all episodes, by name.
    """
    columns = {name: np.array(table[name], dtype) for name, dtype in EPISODE_FIELDS.items()}
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column)
    num_frames = int((columns["lengths"] + 1).sum())
    arrays: dict[str, NDArray[Any]] = {
        name: map_field(folder / f"{name}.npy", num_frames, field) for name, field in layout.items()
    }
    manifest = Manifest(
        **{name: getattr(provenance, name) for name in Provenance.__dataclass_fields__},
        num_episodes=len(columns["lengths"]),
        num_frames=num_frames,
        fields=layout,
        fingerprint=fingerprint(arrays | columns),
    )
    manifest.write(folder)


def _stream(
    folder: Path, episodes: Iterable[Episode]
) -> tuple[str, dict[str, FieldSpec], dict[str, list[int]]]:
    """Append episodes to one file per field; return their task, layout and table of episodes."""
    task_id, layout = "", {}
    table: dict[str, list[int]] = {name: [] for name in EPISODE_FIELDS}
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for number, episode in enumerate(episodes):
            rows = _frame_rows(episode)
            if not files:
                task_id, layout = (
                    episode.task_id,
                    {name: FieldSpec.of(values) for name, values in rows.items()},
                )
                files = {
                    name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in rows
                }
                for name, file in files.items():
                    _write_header(file, layout[name], 0)
            found = episode.task_id, {name: FieldSpec.of(values) for name, values in rows.items()}
            if found != (task_id, layout):
                raise DatasetError(
                    f"Episode {number} has task and layout {found}, but the episodes before it "
                    f"have {(task_id, layout)}."
                )
            for name, values in rows.items():
                files[name].write(np.ascontiguousarray(values).data)
            entry = (
                len(episode),
                encode_seed(episode.seed),
                episode.terminated,
                episode.truncated,
            )
            for name, value in zip(EPISODE_FIELDS, entry, strict=True):
                table[name].append(int(value))
        if not files:
            raise DatasetError("A dataset needs at least one episode, got none.")
        num_frames = sum(table["lengths"]) + len(table["lengths"])
        for name, file in files.items():
            file.seek(0)
            _write_header(file, layout[name], num_frames)
    return task_id, layout, table


def _check_episodes(episodes: Iterable[Episode]) -> Iterator[Episode]:
    """Yield the episodes after comparing them with the task of the first one."""
    expected: TaskLayout | None = None
    for number, episode in enumerate(episodes):
        if number == 0:
            expected = TaskLayout.find(episode.task_id)
        if expected is not None:
            expected.check(episode, number)
        yield episode


def _frame_rows(episode: Episode) -> dict[str, NDArray[Any]]:
    """Return the fields of an episode, aligned by frame, with T+1 rows each."""
    steps = dict(
        zip(STEP_FIELDS, (episode.actions, episode.rewards, episode.violations), strict=True)
    )
    padded = {
        name: np.concatenate([values, np.zeros_like(values[:1])]) for name, values in steps.items()
    }
    return {
        name: episode.observations[name]
        for name in OBSERVATION_FIELDS
        if name in episode.observations
    } | padded


def _write_header(file: BinaryIO, field: FieldSpec, num_rows: int) -> None:
    # Numpy (1.23 or later) pads the header, so that the number of rows can be changed in place.
    np.lib.format.write_array_header_1_0(
        file, {"descr": field.dtype, "fortran_order": False, "shape": (num_rows, *field.shape)}
    )
