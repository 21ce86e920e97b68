"""Choose the episodes of a suite to show, by a fixed rule, and make their films and strips."""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jepabench.envs import EpisodeSpec, get_task
from jepabench.evaluation.records import EpisodeRecord, frame_records, read_records
from jepabench.evaluation.traces import Imagination, episode_name
from jepabench.results.media import films

_LOGGER = logging.getLogger(__name__)
_PANEL_SIZE, _MAX_FRAMES, _FPS = 192, 64, 12.0
# Errors of damaged episode files. The film is omitted, and the report is still written.
_BROKEN = (KeyError, ValueError, OSError, RuntimeError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True)
class Run:
    """One agent on one task with one training seed.

    Attributes:
        agent, task_id, seed: What was evaluated.
        directory: Folder of its files.
        records: One per episode.
    """

    agent: str
    task_id: str
    seed: int
    directory: Path
    records: tuple[EpisodeRecord, ...]


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or film in the report's folder.

    Attributes:
        path: File name.
        width, height: Its size in pixels.
        still: File name of a still for readers who prefer reduced motion; empty for pictures.
    """

    path: str
    width: int
    height: int
    still: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One episode as the report shows it.

    Attributes:
        record: The episode.
        film: The film, or None if it could not be made.
        strip: Imagined above real for the first plan, if the agent imagines.
        problem: Why there is no film.
    """

    record: EpisodeRecord
    film: Media | None = None
    strip: Media | None = None
    problem: str = ""

    @property
    def outcome(self) -> str:
        """Whether the goal was held, only passed, or never reached."""
        if self.record.success_held:
            return "success"
        return "fly-by" if self.record.success_ever else "failure"

    @property
    def files(self) -> list[str]:
        """Names of its files."""
        return [
            name
            for media in (self.film, self.strip)
            if media
            for name in (media.path, media.still)
            if name
        ]


def find_runs(suite_dir: Path, *, only: Collection[Path] | None = None) -> list[Run]:
    """Return the evaluations below ``suite_dir/evaluations``, by task, agent and training seed.

    With ``only``, evaluations in other folders are ignored.

    Raises:
        RecordError: Records cannot be read.
    """
    runs = []
    for path in suite_dir.glob("evaluations/*/*/seed*/episodes.parquet"):
        if only is not None and path.parent not in only:
            continue
        records = frame_records(read_records(path))
        first = records[0]
        runs.append(Run(first.agent, first.task_id, first.training_seed, path.parent, records))
    return sorted(runs, key=lambda run: (run.task_id, run.agent, run.seed))


def choose_episodes(
    records: Sequence[EpisodeRecord], *, strata: Sequence[str], num_episodes: int
) -> list[EpisodeRecord]:
    """Choose alternately the farthest success and the nearest failure, lowest index first."""
    rank = {stratum: place for place, stratum in enumerate(strata)}
    best = sorted(
        (one for one in records if one.success_held),
        key=lambda one: (-rank[one.stratum], one.index),
    )
    worst = sorted(
        (one for one in records if not one.success_held),
        key=lambda one: (rank[one.stratum], one.index),
    )
    return [one for one in chain.from_iterable(zip_longest(best, worst)) if one is not None][
        :num_episodes
    ]


def show_run(run: Run, media: Path, *, num_films: int) -> Iterator[Shown]:
    """Yield the chosen episodes of a run with their films; reuse existing films in ``media``."""
    for record in choose_episodes(
        run.records, strata=get_task(run.task_id).strata, num_episodes=num_films
    ):
        yield show_episode(run.directory, record, media)


def show_episode(directory: Path, record: EpisodeRecord, media: Path) -> Shown:
    """Return one episode of the run in ``directory`` with its film; an existing film is reused."""
    try:
        return _show(directory, record, media)
    except _BROKEN as error:
        _LOGGER.warning("No film of %s, %s/%d: %s", directory, record.stratum, record.index, error)
        return Shown(record, problem=f"{type(error).__name__}: {error}")


def _show(directory: Path, record: EpisodeRecord, media: Path) -> Shown:
    if record.split == "private":
        raise ValueError("Private episodes are not shown.")
    spec = EpisodeSpec(record.task_id, record.split, record.stratum, record.index)
    # Read one episode only, because the imagined frames of a run may be gigabytes.
    name = episode_name(record.stratum, record.index)
    with np.load(directory / "actions.npz", allow_pickle=False) as file:
        actions = file[name]
    imagination = _read_imagination(directory / "imagined.npz", name)
    key = _key(spec, actions, imagination)
    film, still, strip = (media / f"{kind}-{key}.{end}" for kind, end in _FILES)
    block = get_task(spec.task_id).action_block
    if not (film.is_file() and still.is_file()):
        every = math.ceil(len(actions) / _MAX_FRAMES)
        frames = films.episode_film(
            spec, actions, size=_PANEL_SIZE, every=every, imagination=imagination
        )
        films.write_picture(still, frames[-1])
        films.write_film(film, frames, fps=_FPS)
    if imagination is not None and not strip.is_file():
        films.write_picture(strip, _first_plan(spec, actions, imagination, block))
    return Shown(
        record, describe_media(film, still), None if imagination is None else describe_media(strip)
    )


_FILES = (("film", "webp"), ("still", "png"), ("imagined", "png"))


def _key(spec: EpisodeSpec, actions: NDArray[np.float32], imagination: Imagination | None) -> str:
    """Return the key of media: a hash of everything they show, so that existing files are valid."""
    parts = [actions] if imagination is None else [actions, imagination.steps, imagination.frames]
    digest = hashlib.sha256(
        f"{spec.key} {_PANEL_SIZE} {_MAX_FRAMES} {_FPS}\n{inspect.getsource(films)}".encode()
    )
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


def _read_imagination(path: Path, name: str) -> Imagination | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        if f"{name}/frames" not in file.files or not len(file[f"{name}/steps"]):
            return None
        return Imagination(file[f"{name}/steps"], file[f"{name}/frames"])


def _first_plan(
    spec: EpisodeSpec, actions: NDArray[np.float32], imagination: Imagination, block: int
) -> NDArray[np.uint8]:
    """Draw the first plan, which is a fixed choice and the farthest from the goal."""
    imagined, began = imagination.frames[0], int(imagination.steps[0])
    wanted = [began + block * ahead for ahead in range(1, len(imagined) + 1)]
    size, every = max(96, imagined.shape[1]), math.gcd(block, began)
    moments = films.watch(spec, actions[: wanted[-1]], size=size, every=every)
    real = [moment.frame for moment in moments if moment.step in wanted]
    return films.imagination_strip(np.asarray(real), imagined, size=size)


def describe_media(path: Path, still: Path | None = None) -> Media:
    """Return an existing picture or film with its size."""
    with Image.open(path) as picture:
        return Media(path.name, picture.width, picture.height, still.name if still else "")
