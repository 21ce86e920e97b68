"""Film episodes of a submission from its actions.

Each task shows the success with the farthest goal and the failure with the nearest goal.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs import EpisodeSpec, get_task
from jepabench.evaluation.records import EpisodeRecord, frame_records
from jepabench.evaluation.submissions.arrays import read_actions
from jepabench.evaluation.submissions.files import ACTIONS, ROWS, read_files
from jepabench.evaluation.submissions.rows import read_rows
from jepabench.results.board.entries import Entry
from jepabench.results.media import films
from jepabench.results.media.episode_media import Media, Shown, choose_episodes, describe_media

_LOGGER = logging.getLogger(__name__)
_SIZE, _MOST_FRAMES, _FPS = 160, 48, 12.0


def film_entry(
    entry: Entry, media: Path, *, num_films: int, shared: Collection[tuple[str, str, int]] = ()
) -> tuple[list[Shown], list[Shown]]:
    """Film episodes of the first training seed. Existing films in ``media`` are reused.

    Args:
        entry: The submission.
        media: Folder of the films.
        num_films: Number of episodes per task, chosen by ``choose_episodes``.
        shared: Task, stratum and index of further episodes, which all submissions film.

    Returns:
        The chosen episodes, and the shared ones.
    """
    files = read_files(entry.folder)
    manifest = entry.manifest
    rows = read_rows(files[ROWS], manifest.specs.num_episodes * len(manifest.training_seeds))
    actions = read_actions(files[ACTIONS], rows)
    chosen, others = [], []
    seed = manifest.training_seeds[0]
    for task_id, group in rows.query("training_seed == @seed").groupby("task_id", sort=False):
        records = frame_records(pd.DataFrame(group))
        ends = np.cumsum([record.steps for record in records])
        whole = actions[str(task_id), seed]
        strata = get_task(str(task_id)).strata
        wanted = choose_episodes(records, strata=strata, num_episodes=num_films)
        common = [one for one in records if (one.task_id, one.stratum, one.index) in shared]
        for kept, episodes in ((chosen, wanted), (others, common)):
            for record in episodes:
                end = int(ends[records.index(record)])
                kept.append(_shown(record, whole[end - record.steps : end], media))
    return chosen, others


def _shown(record: EpisodeRecord, actions: NDArray[np.float32], media: Path) -> Shown:
    spec = EpisodeSpec(record.task_id, record.split, record.stratum, record.index)
    try:
        return Shown(record, film=_film(spec, actions, media))
    except (ValueError, RuntimeError, OSError) as error:
        _LOGGER.warning("No film of %s: %s", spec.key, error)
        return Shown(record, problem=str(error))


def _film(spec: EpisodeSpec, actions: NDArray[np.float32], media: Path) -> Media:
    key = hashlib.sha256(
        f"{spec.key} {_SIZE} {_MOST_FRAMES} {_FPS}\n".encode() + actions.tobytes()
    ).hexdigest()[:16]
    film, still = media / f"film-{key}.webp", media / f"still-{key}.png"
    if not (film.is_file() and still.is_file()):
        media.mkdir(parents=True, exist_ok=True)
        frames = films.episode_film(
            spec, actions, size=_SIZE, every=math.ceil(len(actions) / _MOST_FRAMES)
        )
        films.write_picture(still, frames[-1])
        films.write_film(film, frames, fps=_FPS)
    return describe_media(film, still)
