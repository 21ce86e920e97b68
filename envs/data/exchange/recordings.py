"""Episodes as other libraries store them, and their conversion to episodes of this suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.data.episodes import (
    GOAL_KEYS,
    OBSERVATION_FIELDS,
    UNKNOWN_SEED,
    Episode,
    EpisodeDataset,
    decode_seed,
    encode_seed,
)
from jepabench.envs.data.manifest import DatasetError, Provenance
from jepabench.envs.errors import UnknownNameError, unknown_name
from jepabench.envs.registry import find_task, make
from jepabench.envs.task import TaskSpec

RATES = ("control", "model")

# Columns that are tried for each field, in this order, when no column is given for it.
CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "observation": ("observation", "observation.state", "state"),
    "achieved_goal": ("achieved_goal", "observation.achieved_goal"),
    "desired_goal": ("desired_goal", "observation.desired_goal"),
    "pixels": ("pixels", "observation.image", "observation.pixels"),
    "action": ("action",),
    "reward": ("reward", "next.reward"),
    "violation": ("violation", "next.violation"),
    "terminated": ("terminated", "next.terminated"),
    "truncated": ("truncated", "next.truncated"),
    "seed": ("seed",),
}
_OPTIONAL = frozenset(CANDIDATES) - {"observation", "achieved_goal", "action"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A dataset of another library, opened for reading.

    Attributes:
        name: How messages call the dataset.
        columns: Names of its columns.
        recordings: One mapping per episode from column name to rows [R, ...]. The action of row r
            leaves the frame of row r; the action of the last row is ignored.
        provenance: Where the data come from, if the dataset states it.
        rate: "control" or "model" if the dataset states what one row is, else None.
    """

    name: str
    columns: tuple[str, ...]
    recordings: Iterable[Mapping[str, NDArray[Any]]]
    provenance: Provenance | None = None
    rate: str | None = None


def read_episodes(
    source: Source,
    task_id: str,
    *,
    columns: Mapping[str, str] | None = None,
    rate: str | None = None,
    pixels: int | None = None,
) -> Iterator[Episode]:
    """Return an iterator over the episodes of ``source``; names are checked before it starts.

    A missing ``desired_goal`` becomes the achieved goal of the last frame, missing rewards become
    0 and missing violations False. Frames are optional.

    Args:
        source: The dataset.
        task_id: Task of the episodes.
        columns: Field to column, for fields whose column has a name of its own.
        rate: "control" if a row is one control step, "model" if it is one model step. By default
            the width of the actions decides.
        pixels: Side to which frames are resized; None keeps square frames as they are.

    Raises:
        DatasetError: A required column is missing, or the rate cannot be told.
        UnknownNameError: ``columns`` names a field or column that does not exist.
    """
    names = _resolve_columns(source, columns or {})
    task = _find_task(task_id)
    rate = rate or source.rate
    if rate is not None and rate not in RATES:
        raise unknown_name("rate", rate, RATES)
    return _convert_all(source, task_id, names, _Blocks(task, rate, source.name), pixels)


def export_rows(
    dataset: EpisodeDataset, index: int, *, last_action: float = 0.0
) -> dict[str, NDArray[Any]]:
    """Return the T+1 rows of episode ``index`` by field name, to be written by an exporter.

    The last row leaves no frame: its reward and violation are zero, its action is
    ``last_action``. ``terminated`` and ``truncated`` are set in the last row. ``seed`` is the same
    in all rows (see ``encode_seed``).
    """
    first = int(dataset.starts[index])
    rows = slice(first, first + int(dataset.lengths[index]) + 1)
    episode = dataset[index]
    found = {name: np.asarray(dataset.field(name)[rows]) for name in dataset.fields}
    found["action"] = np.concatenate(
        [episode.actions, np.full_like(episode.actions[:1], last_action)]
    )
    is_last = np.arange(len(episode) + 1) == len(episode)
    seeds = np.full(len(episode) + 1, encode_seed(episode.seed), np.int64)
    ends = {"terminated": episode.terminated, "truncated": episode.truncated}
    return found | {name: is_last & flag for name, flag in ends.items()} | {"seed": seeds}


def _convert_all(
    source: Source, task_id: str, names: Mapping[str, str], blocks: _Blocks, pixels: int | None
) -> Iterator[Episode]:
    for number, rows in enumerate(source.recordings):
        fields = {field: np.asarray(rows[column]) for field, column in names.items()}
        try:
            yield _convert(fields, task_id, blocks, pixels)
        except DatasetError as error:
            raise DatasetError(f"Episode {number} of {source.name}: {error}") from error


def _convert(
    fields: Mapping[str, NDArray[Any]], task_id: str, blocks: _Blocks, pixels: int | None
) -> Episode:
    num_rows = len(fields["action"])
    if num_rows < 2 or any(len(values) != num_rows for values in fields.values()):
        lengths = ", ".join(f"{name} {len(values)}" for name, values in fields.items())
        raise DatasetError(f"its columns must have one length of at least two rows, got {lengths}.")
    narrow = {
        name: values.reshape(num_rows, -1)[:, 0]
        for name, values in fields.items()
        if name not in _WIDE
    }
    zeros = np.zeros(num_rows)
    frames, actions, rewards, violations = blocks.join(
        np.asarray(fields["action"], np.float32).reshape(num_rows, -1),
        np.asarray(narrow.get("reward", zeros), np.float32),
        narrow.get("violation", zeros) > 0,
    )
    observations = {name: _as_floats(fields[name][frames]) for name in GOAL_KEYS if name in fields}
    if "desired_goal" not in observations:
        achieved = observations["achieved_goal"]
        observations["desired_goal"] = np.repeat(achieved[-1:], len(achieved), axis=0)
    if "pixels" in fields:
        observations["pixels"] = _as_frames(fields["pixels"][frames], pixels)
    terminated = bool((narrow.get("terminated", zeros) > 0).any())
    truncated = narrow.get("truncated")
    return Episode(
        observations=observations,
        actions=actions,
        rewards=rewards,
        violations=violations,
        terminated=terminated,
        truncated=not terminated if truncated is None else bool((truncated > 0).any()),
        task_id=task_id,
        seed=decode_seed(int(narrow["seed"][0])) if "seed" in narrow else UNKNOWN_SEED,
    )


_WIDE = frozenset({*OBSERVATION_FIELDS, "action"})


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Joins control steps to model steps, if rows are control steps."""

    task: TaskSpec | None
    rate: str | None
    name: str

    def join(
        self,
        actions: NDArray[np.float32],
        rewards: NDArray[np.float32],
        violations: NDArray[np.bool_],
    ) -> tuple[slice, NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Return the rows of the frames, and actions, rewards and violations of each model step.

        The reward of a model step is that of its last control step, and a violation in one of its
        control steps is a violation. Control steps that fill no block are dropped from the end.
        """
        steps = len(actions) - 1
        if self._find_rate(actions.shape[-1]) == "model" or self.task is None:
            return slice(None), actions[:-1], rewards[:-1], violations[:-1]
        block, num_actions = self.task.action_block, self.task.actions_per_block
        count = steps // block
        if count < 1:
            raise DatasetError(
                f"{steps} control steps fill no model step of {self.task.id}, which has {block}."
            )
        used = count * block
        blocks = actions[:used].reshape(count, num_actions, self.task.hold_steps, -1)
        if not (blocks == blocks[:, :, :1]).all():
            raise DatasetError(
                f"{self.task.id} holds each action for {self.task.hold_steps} control steps, but "
                "the recorded actions change more often. Such data have no model steps."
            )
        return (
            slice(0, used + 1, block),
            np.ascontiguousarray(blocks[:, :, 0].reshape(count, -1)),
            np.ascontiguousarray(rewards[:used].reshape(count, block)[:, -1]),
            np.any(violations[:used].reshape(count, block), axis=1),
        )

    def _find_rate(self, width: int) -> str:
        if self.rate is not None or self.task is None or self.task.action_block == 1:
            return self.rate or "model"
        single = int(np.prod(make(self.task.id).action_space.shape))
        num_actions = self.task.actions_per_block
        if num_actions > 1:
            return "control" if width == single else "model"
        raise DatasetError(
            f"{self.name} does not state its rate, and a model step of {self.task.id} is "
            f"{self.task.action_block} control steps with one action. Give rate=control or "
            "rate=model."
        )


def _resolve_columns(source: Source, given: Mapping[str, str]) -> dict[str, str]:
    """Return field to column for every field that the source has."""
    for field, column in given.items():
        if field not in CANDIDATES:
            raise unknown_name("field of an episode", field, CANDIDATES)
        if column not in source.columns:
            raise unknown_name(f"column of {source.name}", column, source.columns)
    names = dict(given)
    for field, candidates in CANDIDATES.items():
        if field in names:
            continue
        images = [name for name in source.columns if name.startswith("observation.images.")]
        if field == "pixels" and len(images) == 1:
            candidates = (*candidates, *images)
        found = next((name for name in candidates if name in source.columns), None)
        if found is not None:
            names[field] = found
        elif field not in _OPTIONAL:
            raise DatasetError(
                f"{source.name} has no column for {field!r}. Name one of its columns: "
                f"{', '.join(source.columns)}. For instance: columns={field}={source.columns[0]}"
            )
    return names


def _as_floats(values: NDArray[Any]) -> NDArray[Any]:
    """Return observations [T+1, O] as floats of the type they have."""
    floats = values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float32)
    return np.ascontiguousarray(floats.reshape(len(floats), -1))


def _as_frames(frames: NDArray[Any], side: int | None) -> NDArray[np.uint8]:
    """Return frames uint8 [T+1, side, side, 3] from frames of any layout that is in use."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or 3 not in (frames.shape[1], frames.shape[3]):
        raise DatasetError(
            "frames must be uint8 with three channels (first or last), got "
            f"{frames.dtype}{list(frames.shape)}."
        )
    if frames.shape[3] != 3:
        frames = frames.transpose(0, 2, 3, 1)
    height, width = frames.shape[1:3]
    if side is None and height != width:
        raise DatasetError(
            f"frames are {height} x {width}, and the suite has square ones. Give pixels=64 (or "
            "another side) to resize them."
        )
    if side is None or (height, width) == (side, side):
        return np.ascontiguousarray(frames)
    resized = [
        cv2.resize(np.ascontiguousarray(frame), (side, side), interpolation=cv2.INTER_AREA)
        for frame in frames
    ]
    return np.stack(resized).astype(np.uint8, copy=False)


def _find_task(task_id: str) -> TaskSpec | None:
    try:
        return find_task(task_id)
    except UnknownNameError:
        return None
