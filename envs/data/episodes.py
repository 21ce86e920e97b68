"""Episodes, and datasets that store them as one memory-mapped array per field.

Data have the rate of a world model: there is one frame every ``action_block`` control steps, and
the distinct actions between two frames are concatenated. Fields are aligned by frame. Row r of
``action``, ``reward`` and ``violation`` belongs to the step that starts at frame r. These rows are
zero for the last frame of an episode.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepabench.envs.data.manifest import DatasetError, FieldSpec, Manifest, fingerprint
from jepabench.envs.errors import unknown_name

GOAL_KEYS = ("observation", "achieved_goal", "desired_goal")
OBSERVATION_FIELDS = (*GOAL_KEYS, "pixels")
STEP_FIELDS = ("action", "reward", "violation")
EPISODE_FIELDS = {"lengths": "<i8", "seeds": "<i8", "terminated": "|b1", "truncated": "|b1"}
UNKNOWN_SEED = -1
_LARGEST_SEED = 2**64 - 2
_MIN_STD = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Episode:
    """The T transitions of one episode.

    Attributes:
        observations: Arrays [T+1, ...] by name: ``observation``, ``achieved_goal`` and
            ``desired_goal`` (floats), and optionally ``pixels`` (uint8 [T+1, size, size, 3]).
        actions: float32 [T, actions_per_block * A].
        rewards: Sparse rewards of the task, float32 [T].
        violations: Whether a keep-out rule was violated during the step, bool [T].
        terminated, truncated: How the episode ends.
        task_id: Id of the task with its version.
        seed: Seed of the environment, 0 to 2**64 - 2, or -1 if it is unknown.

    Raises:
        DatasetError: An array has the wrong shape or type, or a value that is not finite.
    """

    observations: Mapping[str, NDArray[Any]]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    violations: NDArray[np.bool_]
    terminated: bool
    truncated: bool
    task_id: str
    seed: int

    def __post_init__(self) -> None:
        if missing := [key for key in GOAL_KEYS if key not in self.observations]:
            raise DatasetError(
                f"An episode needs the observations {', '.join(GOAL_KEYS)}, but {missing[0]!r} is "
                "missing."
            )
        num_steps = len(self.actions)
        if num_steps < 1:
            raise DatasetError("An episode must have at least one transition, got none.")
        for name, values in self.observations.items():
            if name not in OBSERVATION_FIELDS:
                raise unknown_name("observation", name, OBSERVATION_FIELDS)
            if name == "pixels":
                size = values.shape[1] if values.ndim == 4 else 0
                _check(name, values, np.uint8, (num_steps + 1, size, size, 3))
            else:
                _check(name, values, np.floating, (num_steps + 1, values.shape[-1]))
        _check("actions", self.actions, np.float32, (num_steps, self.actions.shape[-1]))
        _check("rewards", self.rewards, np.float32, (num_steps,))
        _check("violations", self.violations, np.bool_, (num_steps,))
        if not UNKNOWN_SEED <= self.seed <= _LARGEST_SEED:
            raise DatasetError(
                f"The seed of an episode must be from {UNKNOWN_SEED} (unknown) to {_LARGEST_SEED}, "
                f"got {self.seed}."
            )

    def __len__(self) -> int:
        """Return T, the number of transitions."""
        return len(self.actions)

    def __repr__(self) -> str:
        arrays = dict(self.observations) | {"actions": self.actions}
        shapes = ", ".join(
            f"{name} {values.dtype}{list(values.shape)}" for name, values in arrays.items()
        )
        return f"Episode({self.task_id!r}, seed={self.seed}, {len(self)} transitions, {shapes})"


class EpisodeDataset:
    """A memory-mapped dataset folder, created by ``EpisodeDataset.open``.

    Opening takes milliseconds and no memory, independently of the size. A pickled dataset contains
    only its path.

    Attributes:
        path: The folder.
        manifest: Provenance, layout and fingerprint of the dataset.
        lengths: Number of transitions of each episode, int64 [E].
        starts: Row of the first frame of each episode, int64 [E].
    """

    def __init__(
        self, path: Path, manifest: Manifest, arrays: Mapping[str, np.memmap[Any, Any]]
    ) -> None:
        self.path, self.manifest = path, manifest
        self._fields = {name: arrays[name] for name in manifest.fields}
        # Views as plain arrays. Indexing them is several times faster than indexing np.memmap.
        self._rows = {name: np.asarray(field) for name, field in self._fields.items()}
        self.lengths, self._seeds, self._terminated, self._truncated = (
            np.array(arrays[n]) for n in EPISODE_FIELDS
        )
        self._ends = np.cumsum(self.lengths + 1)
        self.starts = self._ends - self.lengths - 1
        self._statistics: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> EpisodeDataset:
        """Open a dataset folder.

        Args:
            path: The folder.
            verify: Whether to read all bytes and compare their fingerprint with the manifest.

        Raises:
            DatasetError: The dataset is missing, incomplete, damaged, or has another schema
                version.
        """
        folder = Path(path)
        manifest = Manifest.read(folder)
        arrays = {
            name: map_field(folder / f"{name}.npy", manifest.num_frames, field)
            for name, field in manifest.fields.items()
        } | {
            name: map_field(folder / f"{name}.npy", manifest.num_episodes, FieldSpec((), dtype))
            for name, dtype in EPISODE_FIELDS.items()
        }
        lengths = arrays["lengths"]
        if lengths.min() < 1 or int((lengths + 1).sum()) != manifest.num_frames:
            raise DatasetError(
                f"The lengths in {folder} do not add up to {manifest.num_frames} frames. Collect "
                "the dataset again."
            )
        if verify and (found := fingerprint(arrays)) != manifest.fingerprint:
            raise DatasetError(
                f"{folder} was changed after it was written: its fingerprint is {found[:12]}, but "
                f"the manifest has {manifest.fingerprint[:12]}. Delete the folder, and collect or "
                "download the dataset again."
            )
        return cls(folder, manifest, arrays)

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """Layout of each field, by name."""
        return self.manifest.fields

    def field(self, name: str) -> np.memmap[Any, Any]:
        """Return a field for all frames, [num_frames, ...], read-only."""
        if name not in self._fields:
            raise unknown_name("field", name, self._fields)
        return self._fields[name]

    def with_field(self, name: str, values: NDArray[Any]) -> EpisodeDataset:
        """Return the same episodes with an additional field in memory, such as latents.

        Args:
            name: Name of the field.
            values: Array [num_frames, ...].

        Raises:
            ValueError: The name is taken, or the number of rows is wrong.
        """
        if len(values) != self.manifest.num_frames or name in self._fields:
            raise ValueError(
                f"A new field needs {self.manifest.num_frames} rows and an unused name, got "
                f"{len(values)} rows for {name!r}."
            )
        wider = copy.copy(self)
        wider._fields, wider._rows = self._fields | {name: values}, self._rows | {name: values}  # pyright: ignore
        return wider

    def __len__(self) -> int:
        """Return E, the number of episodes."""
        return len(self.lengths)

    def __getitem__(self, index: int) -> Episode:
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"There is no episode {index}; the dataset has {len(self)}.")
        frames = slice(int(self.starts[number]), int(self._ends[number]))
        steps = slice(frames.start, frames.stop - 1)
        return Episode(
            observations={
                name: self._rows[name][frames] for name in OBSERVATION_FIELDS if name in self._rows
            },
            actions=self._rows["action"][steps],
            rewards=self._rows["reward"][steps],
            violations=self._rows["violation"][steps],
            terminated=bool(self._terminated[number]),
            truncated=bool(self._truncated[number]),
            task_id=self.manifest.task_id,
            seed=decode_seed(int(self._seeds[number])),
        )

    def window_starts(self, num_frames: int, *, stride: int = 1) -> NDArray[np.int64]:
        """Return the first row of each window that lies within an episode, ascending [W].

        Args:
            num_frames: Number of frames in a window, at least 1.
            stride: Number of frames from one window of an episode to the next, at least 1.
        """
        if num_frames < 1 or stride < 1:
            raise ValueError(
                f"num_frames and stride must be at least 1, got {num_frames} and {stride}."
            )
        counts = np.maximum(0, (self.lengths + 1 - num_frames) // stride + 1)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(self.starts, counts) + stride * within

    def gather(
        self, name: str, starts: ArrayLike, num_frames: int, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Copy windows of a field into one array.

        Args:
            name: Name of the field.
            starts: First row of each window [B]; see ``window_starts``.
            num_frames: Number of frames in a window.
            out: Array [B, num_frames, ...] for the result. Reusing it avoids new allocations.

        Returns:
            ``out``, or a new array.

        Raises:
            UnknownNameError: There is no such field.
            ValueError: A window extends beyond its episode, or ``out`` has another shape or type.
        """
        if name not in self._rows:
            raise unknown_name("field", name, self._rows)
        field, rows = self._rows[name], np.asarray(starts, dtype=np.int64)
        ends = self._ends[
            np.minimum(np.searchsorted(self._ends, rows, side="right"), len(self) - 1)
        ]
        if (rows < 0).any() or (rows + num_frames > ends).any():
            raise ValueError(
                f"A window of {num_frames} frames extends beyond its episode. Use the starts of "
                f"window_starts({num_frames})."
            )
        shape = (len(rows), num_frames, *field.shape[1:])
        if out is None:
            out = np.empty(shape, field.dtype)
        elif out.shape != shape or out.dtype != field.dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"out must be a contiguous {field.dtype}{list(shape)}, got "
                f"{out.dtype}{list(out.shape)}."
            )
        frames = (rows[:, None] + np.arange(num_frames)).reshape(-1)
        # The rows are valid. The mode is "clip" because the default one copies through a buffer.
        np.take(field, frames, axis=0, out=out.reshape(len(frames), *field.shape[1:]), mode="clip")
        return out

    def action_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation of the actions, each [actions_per_block * A].

        The standard deviation is at least 0.001.
        """
        if self._statistics is None:
            is_transition = np.ones(self.manifest.num_frames, np.bool_)
            is_transition[self._ends - 1] = False
            actions = self._rows["action"][is_transition]
            mean, std = actions.mean(0, dtype=np.float64), actions.std(0, dtype=np.float64)
            self._statistics = mean.astype(np.float32), np.maximum(std, _MIN_STD).astype(np.float32)
        return self._statistics

    def __reduce__(self) -> tuple[Any, ...]:
        return EpisodeDataset.open, (self.path,)

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{name} {np.dtype(f.dtype)}{list(f.shape)}" for name, f in self.fields.items()
        )
        return (
            f"EpisodeDataset({str(self.path)!r}, {self.manifest.task_id!r}, {len(self)} episodes, "
            f"{self.manifest.num_transitions} transitions, {fields})"
        )


def encode_seed(seed: int) -> int:
    """Return a seed as a signed 64-bit integer. Seeds of 2**63 or more become negative."""
    return seed - 2**64 if seed >= 2**63 else seed


def decode_seed(stored: int) -> int:
    """Return the seed that ``encode_seed`` stored."""
    return stored + 2**64 if stored < UNKNOWN_SEED else stored


def map_field(file: Path, num_rows: int, field: FieldSpec) -> np.memmap[Any, Any]:
    """Map the file of a field, read-only.

    Raises:
        DatasetError: The file is missing or damaged, or does not match its layout.
    """
    if not file.is_file():
        raise DatasetError(
            f"{file} is missing. Delete the folder, and collect or download the dataset again."
        )
    try:
        array = np.load(file, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise DatasetError(
            f"{file} is truncated or damaged ({error}). Collect or download the dataset again."
        ) from error
    found, expected = (array.shape, array.dtype.str), ((num_rows, *field.shape), field.dtype)
    if found != expected or file.stat().st_size != array.offset + array.nbytes:
        raise DatasetError(
            f"{file} contains {found} in {file.stat().st_size} bytes, but the manifest states "
            f"{expected}. Collect the dataset again."
        )
    return array


def _check(
    name: str, values: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]
) -> None:
    if values.shape != shape:
        raise DatasetError(
            f"{name} of an episode must have shape {list(shape)}, got {list(values.shape)}."
        )
    if not np.issubdtype(values.dtype, dtype):
        raise DatasetError(f"{name} of an episode must be {dtype.__name__}, got {values.dtype}.")
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        raise DatasetError(f"{name} of an episode contains a value that is not finite.")
