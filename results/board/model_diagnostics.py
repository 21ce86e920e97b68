"""Show the diagnostics of the world models of a submission: tables and imagined frames.

The submission contains the imagined frames. The real frames come from a replay of its actions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.data.files import write_atomically
from jepabench.envs.registry import get_task
from jepabench.envs.splits import EpisodeSpec
from jepabench.envs.task import short_name
from jepabench.evaluation.submissions.arrays import read_actions
from jepabench.evaluation.submissions.diagnostics import (
    Frames,
    Surprise,
    WorldReport,
    read_imagined,
)
from jepabench.evaluation.submissions.files import (
    ACTIONS,
    CHECKPOINTS,
    ROWS,
    read_files,
)
from jepabench.evaluation.submissions.rows import read_rows
from jepabench.results.board.entries import Entry
from jepabench.results.media.episode_media import Media, describe_media
from jepabench.results.media.films import watch
from jepabench.results.media.imagination import as_png, imagined_film, imagined_strip

_STRIP_SIZE = 88


@dataclass(frozen=True, slots=True)
class Strip:
    """Beginnings of episodes of one task, imagined above real.

    Attributes:
        strip, film: The same as one picture and as a film.
        strata: Strata of the episodes, from top to bottom and from left to right.
    """

    strip: Media
    film: Media
    strata: Sequence[str]


def describe_diagnostics(entry: Entry, strips: Mapping[str, Strip]) -> list[dict[str, Any]]:
    """Returns what the page of a submission shows of each of its world models.

    Args:
        entry: The submission.
        strips: By task id, as far as there are some.
    """
    return [
        {
            "task": report.task_id,
            "strip": strips.get(report.task_id),
            "checkpoint": (
                f"{CHECKPOINTS}/{short_name(report.task_id)}/seed{report.training_seed}/world_model"
            ),
            "frames": f"{report.frames:,}",
            "probe": [
                (item.quantity, _number(item.r2, 3), _number(item.r, 3)) for item in report.probe
            ],
            "surprise": [_event(item) for item in report.surprise],
        }
        for report in entry.reports
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _event(item: Surprise) -> dict[str, Any]:
    row: dict[str, Any] = {
        "event": item.event.replace("_", " "),
        "kind": item.kind,
        "pairs": item.pairs,
    }
    row |= {
        "held": _number(item.auroc, 2),
        "untrained": _number(item.untrained, 2),
        "interval": False,
    }
    if item.auroc is not None and item.low is not None and item.high is not None:
        row |= {
            "interval": True,
            "ends": f"{item.low:.2f}\N{EN DASH}{item.high:.2f}",
            "point": f"{100 * item.auroc:.1f}",
            "low": f"{100 * item.low:.1f}",
            "width": f"{100 * (item.high - item.low):.1f}",
        }
    return row


def draw_strips(entry: Entry, media: Path) -> dict[str, Strip]:
    """Return the strips of a submission by task id; existing files in ``media`` are reused."""
    if not any(report.imagined for report in entry.reports):
        return {}
    files = read_files(entry.folder)
    rows = read_rows(
        files[ROWS], entry.manifest.specs.num_episodes * len(entry.manifest.training_seeds)
    )
    actions = read_actions(files[ACTIONS], rows)
    imagined = read_imagined(files, entry.reports, entry.manifest.pixels)
    found = {}
    for report in entry.reports:
        if report.imagined:
            own = pd.DataFrame(
                rows[
                    (rows["task_id"] == report.task_id)
                    & (rows["training_seed"] == report.training_seed)
                ]
            )
            traces = _traces(own.to_dict("records"), actions[report.task_id, report.training_seed])
            found[report.task_id] = _strip(report, traces, imagined, media)
    return found


Traces = Mapping[tuple[str, int], tuple[EpisodeSpec, NDArray[np.float32]]]


def _traces(rows: Sequence[Mapping[str, Any]], actions: NDArray[np.float32]) -> Traces:
    ends = np.cumsum([int(row["steps"]) for row in rows])
    return {
        (row["stratum"], int(row["index"])): (
            EpisodeSpec(row["task_id"], row["split"], row["stratum"], int(row["index"])),
            actions[end - int(row["steps"]) : end],
        )
        for row, end in zip(rows, ends, strict=True)
    }


def _strip(
    report: WorldReport,
    traces: Traces,
    imagined: Mapping[tuple[str, str, int], Frames],
    media: Path,
) -> Strip:
    steps = min(item.steps for item in report.imagined)
    digest = hashlib.sha256(f"{_STRIP_SIZE} {steps}\n".encode())
    for item in report.imagined:
        spec, actions = traces[item.stratum, item.index]
        digest.update(f"{spec.key} {item.known}\n".encode() + actions.tobytes())
        digest.update(imagined[report.task_id, item.stratum, item.index].tobytes())
    key = digest.hexdigest()[:16]
    strip, film = media / f"imagined-{key}.png", media / f"imagined-{key}.gif"
    if not (strip.is_file() and film.is_file()):
        ours = [
            imagined[report.task_id, item.stratum, item.index][: 1 + steps]
            for item in report.imagined
        ]
        real = [
            _real(*traces[item.stratum, item.index], item.known, steps, ours[0].shape[1])
            for item in report.imagined
        ]
        pictures = np.stack(real), np.stack(ours)
        write_atomically(strip, as_png(imagined_strip(*pictures, size=_STRIP_SIZE)))
        write_atomically(film, imagined_film(*pictures))
    return Strip(
        describe_media(strip), describe_media(film), [item.stratum for item in report.imagined]
    )


def _real(
    spec: EpisodeSpec, actions: NDArray[np.float32], known: int, steps: int, size: int
) -> Frames:
    """What really came, from the last known frame on [1 + steps, size, size, 3]."""
    block = get_task(spec.task_id).action_block
    moments = watch(spec, actions[: (known - 1 + steps) * block], size=size, every=block)
    return np.stack([moment.frame for moment in moments])[known - 1 :]
