"""Collect a dataset with a behaviour in parallel processes. Interrupted collections can be resumed.

Until the dataset is complete, its data are in ``<path>.partial``: the request, the fields at their
final size, and a marker with a checksum for each finished chunk of episodes. Processes write their
chunks in place. The bytes of the dataset depend neither on the number of processes nor on
interruptions.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Generator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from jepabench.envs.data.behaviour import Behaviour, NamedBehaviour, make_behaviour
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.files import write_atomically
from jepabench.envs.data.manifest import DatasetError, Provenance, half_done_folder
from jepabench.envs.data.recording import (
    Recorder,
    Request,
    frame_fields,
    is_finished,
)
from jepabench.envs.data.writing import seal
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import find_module, get_task, make, register_in_new_process
from jepabench.envs.task import SPLITS, TaskSpec


def collect(
    task_id: str,
    path: str | Path,
    *,
    num_episodes: int,
    num_steps: int,
    behaviour: str | NamedBehaviour | None = None,
    split: str = "train",
    pixels: int | None = 64,
    num_workers: int = 2,
    first_index: int = 0,
    progress: bool = True,
) -> EpisodeDataset:
    """Collect a dataset of ``num_episodes`` episodes of ``num_steps`` model steps each.

    Strata alternate: with n strata, episode i has index ``i // n`` in stratum ``i % n``, where i
    starts at ``first_index``. Episodes continue after a success and beyond the budget of the task.
    After an interruption, the same call records the missing episodes. If the dataset is complete,
    the call opens it.

    Args:
        task_id: Id of a registered task, or ``module:Name-v0``.
        path: Folder of the dataset.
        num_episodes: Number of episodes in all strata together.
        num_steps: Length of an episode in model steps (action blocks).
        behaviour: Name of a behaviour of the task, by default ``TaskSpec.default_behaviour``, or
            your own behaviour.
        split: ``train``, ``validation`` or ``test``.
        pixels: Side of the recorded frames, or None for no frames.
        num_workers: Number of processes. With 1, this process does the work. With more, a script
            needs ``if __name__ == "__main__":``.
        first_index: Number of the first episode, so that a dataset can continue another one.
        progress: Whether to show a progress bar.

    Raises:
        DatasetError: ``path`` contains another dataset, another process is collecting it, the disk
            is too small, or an episode failed.
        UnknownNameError: There is no such task, behaviour or split.
        KeyboardInterrupt: The user pressed Ctrl-C. Finished episodes are kept.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, got {num_workers}.")
    task, path = get_task(task_id), Path(path)
    name, own = (
        (behaviour, None)
        if behaviour is None or isinstance(behaviour, str)
        else (behaviour.name, behaviour)
    )
    request = Request(
        provenance=_provenance(task, name, split, first_index, is_own=own is not None),
        num_episodes=num_episodes,
        num_steps=num_steps,
        fields=frame_fields(make(task.id, pixels=pixels)),
    )
    if not path.exists():
        job = _Job(request=request, task=task, own=own, num_workers=num_workers, progress=progress)
        _make(path, job)
    dataset = _open_if_asked_for(path, request)
    shutil.rmtree(half_done_folder(path), ignore_errors=True)
    return dataset


def _provenance(
    task: TaskSpec, behaviour: str | None, split: str, first_index: int, *, is_own: bool
) -> Provenance:
    public = [name for name in SPLITS if name != "private"]
    if split not in public:
        raise unknown_name("split of a dataset", split, public)
    behaviour = behaviour or task.default_behaviour
    if not is_own:
        make_behaviour(task, behaviour)  # raises an error for unknown names
    return Provenance.of(
        task.id, behaviour=behaviour, split=split, strata=task.strata, first_index=first_index
    )


def _open_if_asked_for(path: Path, request: Request) -> EpisodeDataset:
    dataset = EpisodeDataset.open(path)
    lengths = np.unique(dataset.lengths).tolist()
    found = {name: getattr(dataset.manifest, name, None) for name in request.asked()}
    found |= {
        "num_steps": lengths[0] if len(lengths) == 1 else lengths,
        "strata": list(dataset.manifest.strata),
    }
    # A finished dataset stays valid when the software changes. Its manifest has the old versions.
    _refuse_another(found, request.asked() | {"versions": found["versions"]}, path)
    return dataset


def _refuse_another(found: Mapping[str, Any], asked: Mapping[str, Any], path: Path) -> None:
    for name, value in asked.items():
        if found.get(name) != value:
            raise DatasetError(
                f"{path} has {name}={found.get(name)!r}, but {name}={value!r} was requested. "
                "Choose another path, or delete the folder first."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What to record and how; ``own`` is a behaviour that does not belong to the task."""

    request: Request
    task: TaskSpec
    own: Behaviour | None
    num_workers: int
    progress: bool


def _make(path: Path, job: _Job) -> None:
    folder, request = half_done_folder(path), job.request
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            if path.exists():  # another process has finished it in the meantime
                return
            try:
                _prepare(folder, request)
                _record_missing(folder, job)
            except BaseException:
                if not _has_chunks(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            seal(folder / "data", request.provenance, request.fields, request.table())
            (folder / "data").rename(path)
    except Timeout:
        raise DatasetError(
            f"Another process is collecting {path}. Wait for it, or choose another path."
        ) from None


def _record_missing(folder: Path, job: _Job) -> None:
    """Record the chunks that are missing or damaged."""
    request, hide = job.request, not job.progress
    missing = [
        episodes for episodes in request.chunks() if not is_finished(folder, request, episodes)
    ]
    total = request.num_episodes
    done = total - sum(map(len, missing))
    try:
        with (
            tqdm(total=total, initial=done, desc=job.task.id, unit="ep", disable=hide) as bar,
            closing(_record(missing, folder, job)) as counts,
        ):
            for count in counts:
                bar.update(count)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"The collection was interrupted. {_describe_kept(folder)}"
        ) from None
    except BrokenProcessPool as error:
        raise DatasetError(
            "A worker process died. It was killed, ran out of memory, or belongs to a script "
            "without `if __name__ == '__main__':`. "
            f"num_workers=1 needs no worker processes. {_describe_kept(folder)}"
        ) from error
    except DatasetError as error:
        raise DatasetError(f"{error} {_describe_kept(folder)}") from error


def _describe_kept(folder: Path) -> str:
    """Return a sentence about what is left of a failed collection."""
    if _has_chunks(folder):
        return f"Finished episodes are kept in {folder}. Repeat the call to resume."
    return "No chunk of episodes was finished, so nothing was kept."


def _has_chunks(folder: Path) -> bool:
    """Return whether at least one chunk of a half-done dataset is finished."""
    return any((folder / "chunks").glob("[0-9]*"))


def _prepare(folder: Path, request: Request) -> None:
    """Prepare a half-done folder: write the request and create each field at full size."""
    record = folder / "request.json"
    if not _has_chunks(folder):  # nothing is finished, so the folder is free for another request
        record.unlink(missing_ok=True)
        shutil.rmtree(folder / "data", ignore_errors=True)
    if record.exists():
        _refuse_another(json.loads(record.read_text(encoding="utf-8")), request.asked(), folder)
    elif request.nbytes > (free := shutil.disk_usage(folder).free):
        raise DatasetError(
            f"The dataset needs {request.nbytes / 1e9:.2g} GB, but the disk of {folder} has "
            f"{free / 1e9:.2g} GB of free space."
        )
    write_atomically(record, json.dumps(request.asked(), indent=2, sort_keys=True))
    for name in ("data", "chunks"):
        (folder / name).mkdir(exist_ok=True)
    for name, field in request.fields.items():
        file, shape = folder / "data" / f"{name}.npy", (request.num_frames, *field.shape)
        try:
            intact = np.load(file, mmap_mode="r").shape == shape
        except (OSError, ValueError, EOFError):
            intact = False
        if not intact:
            np.lib.format.open_memmap(file, mode="w+", dtype=field.dtype, shape=shape)


def _record(chunks: list[range], folder: Path, job: _Job) -> Generator[int, None, None]:
    """Record chunks and yield the number of episodes of each finished chunk."""
    request, task, own = job.request, job.task, job.own
    num_workers = min(job.num_workers, len(chunks))
    if num_workers == 0:
        return
    if num_workers == 1:
        yield from map(Recorder(task, request, folder, own).record, chunks)
        return
    pool = ProcessPoolExecutor(
        num_workers,
        get_context("spawn"),
        _start_worker,
        (task, find_module(task), request, folder, own),
    )
    try:
        for future in as_completed([pool.submit(_record_chunk, episodes) for episodes in chunks]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


_recorder: Recorder | None = None  # set in worker processes


def _start_worker(
    task: TaskSpec, module: str, request: Request, folder: Path, own: Behaviour | None
) -> None:
    global _recorder
    # Ctrl-C reaches all processes. Only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_exit_with_parent, daemon=True).start()
    register_in_new_process(task, module)
    _recorder = Recorder(task, request, folder, own)


def _exit_with_parent() -> None:
    """Exit when the parent process is killed.

    Otherwise the workers of the pool would wait for work forever.
    """
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _record_chunk(episodes: range) -> int:
    if _recorder is None:
        raise RuntimeError("This process is not a worker of a collection.")
    return _recorder.record(episodes)
