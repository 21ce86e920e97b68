"""Record chunks of a dataset. ``jepabench.envs.data.collect`` distributes them over processes.

An episode is determined by its ``EpisodeSpec``, and its rows in the dataset are fixed from the
start. Any process can therefore record a chunk at any time, and always writes the same bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.data.behaviour import Behaviour, make_behaviour
from jepabench.envs.data.episodes import OBSERVATION_FIELDS
from jepabench.envs.data.files import write_atomically
from jepabench.envs.data.manifest import DatasetError, FieldSpec, Provenance
from jepabench.envs.registry import make
from jepabench.envs.splits import reset_to
from jepabench.envs.task import TaskSpec

_CHUNK_FRAMES = 1024
_CHUNK_BYTES = 1 << 25
_MIN_CHUNKS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The arguments of a collection. They determine the bytes of the dataset.

    Attributes:
        provenance: Task, split, behaviour, episodes and versions.
        num_episodes: Number of episodes.
        num_steps: Length of an episode in model steps.
        fields: Layout of the fields.

    Raises:
        ValueError: A number is too small.
    """

    provenance: Provenance
    num_episodes: int
    num_steps: int
    fields: Mapping[str, FieldSpec]

    def __post_init__(self) -> None:
        if self.num_episodes < 1 or self.num_steps < 1 or self.provenance.first_index < 0:
            raise ValueError(
                "num_episodes and num_steps must be at least 1 and first_index at least 0, "
                f"got {self.num_episodes}, {self.num_steps} and {self.provenance.first_index}."
            )

    @property
    def num_frames(self) -> int:
        """Number of frames in all episodes."""
        return self.num_episodes * (self.num_steps + 1)

    @property
    def nbytes(self) -> int:
        """Number of bytes of all frames."""
        return self.num_frames * sum(field.nbytes for field in self.fields.values())

    @property
    def pixels(self) -> int | None:
        """Side of the frames, or None if there are none."""
        return self.fields["pixels"].shape[0] if "pixels" in self.fields else None

    def chunks(self) -> list[range]:
        """Return the episodes of each chunk.

        Chunks are small, so that all processes finish at about the same time and an interruption
        loses little work.
        """
        frames = min(_CHUNK_FRAMES, _CHUNK_BYTES * self.num_frames // self.nbytes)
        size = max(1, min(frames // (self.num_steps + 1), -(-self.num_episodes // _MIN_CHUNKS)))
        return [
            range(first, min(first + size, self.num_episodes))
            for first in range(0, self.num_episodes, size)
        ]

    def rows(self, episodes: range) -> slice:
        """Return the rows of consecutive episodes in the dataset."""
        return slice(episodes.start * (self.num_steps + 1), episodes.stop * (self.num_steps + 1))

    def table(self) -> dict[str, Any]:
        """Return the ``EPISODE_FIELDS`` of all episodes, which all end by truncation."""
        seeds = [self.provenance.episode_spec(index).seed for index in range(self.num_episodes)]
        lengths = np.full(self.num_episodes, self.num_steps)
        return {
            "lengths": lengths,
            "seeds": seeds,
            "terminated": lengths < 0,
            "truncated": lengths > 0,
        }

    def asked(self) -> dict[str, Any]:
        """Return the arguments of ``collect`` as JSON values, with the current ``versions``."""
        sizes = {
            "num_episodes": self.num_episodes,
            "num_steps": self.num_steps,
            "pixels": self.pixels,
        }
        provenance = asdict(self.provenance)
        return provenance | sizes | {"strata": list(self.provenance.strata)}


class Recorder:
    """Records chunks of a request. Each process has one recorder.

    Args:
        task: Task of the request.
        request: The request.
        folder: Folder of the unfinished dataset; see ``jepabench.envs.data.collect``.
        behaviour: Policy that acts; by default the behaviour that the request names.
    """

    def __init__(
        self, task: TaskSpec, request: Request, folder: Path, behaviour: Behaviour | None = None
    ) -> None:
        self.request, self.folder = request, folder
        self.env = make(task.id, pixels=request.pixels, reward="sparse")
        self.behaviour = behaviour or make_behaviour(task, request.provenance.behaviour).deciding
        self.num_actions = task.actions_per_block
        self.hold = task.hold_steps
        frames = max(map(len, request.chunks())) * (request.num_steps + 1)
        # The last frame of an episode has no action, reward and violation. These rows stay zero.
        self.buffer = {
            name: np.zeros((frames, *field.shape), field.dtype)
            for name, field in request.fields.items()
        }

    def record(self, episodes: range) -> int:
        """Record one chunk and return its number of episodes.

        Raises:
            DatasetError: The world or the behaviour raised an error; the message names the episode.
        """
        num_frames = self.request.num_steps + 1
        for position, index in enumerate(episodes):
            frames = slice(position * num_frames, (position + 1) * num_frames)
            try:
                self._play(index, {name: rows[frames] for name, rows in self.buffer.items()})
            except Exception as error:
                key = self.request.provenance.episode_spec(index).key
                raise DatasetError(
                    f"Episode {key} failed with {type(error).__name__}: {error}"
                ) from error
        made = {name: rows[: len(episodes) * num_frames] for name, rows in self.buffer.items()}
        for name, rows in made.items():
            _write_rows(
                self.folder / "data" / f"{name}.npy", self.request.rows(episodes).start, rows
            )
        write_atomically(marker(self.folder, episodes), checksum(made))
        return len(episodes)

    def _play(self, index: int, rows: Mapping[str, NDArray[Any]]) -> None:
        spec = self.request.provenance.episode_spec(index)
        observation, _ = reset_to(self.env, spec)
        self.behaviour.reset(self.env, np.random.default_rng(spec.planner_seed))
        seen = [(name, rows[name]) for name in OBSERVATION_FIELDS if name in rows]
        blocks = rows["action"].reshape(len(rows["action"]), self.num_actions, -1)
        for step in range(self.request.num_steps):
            for name, frames in seen:
                frames[step] = observation[name]
            observation, rows["reward"][step], rows["violation"][step] = self._block(
                observation, blocks[step]
            )
        for name, frames in seen:
            frames[-1] = observation[name]

    def _block(
        self, observation: Mapping[str, Any], block: NDArray[np.float32]
    ) -> tuple[Any, float, bool]:
        """Take one model step and write its actions to ``block``. Render only the last frame."""
        violated, reward = False, 0.0
        for number, action in enumerate(block, start=1):
            chosen = self.behaviour.act(dict(observation))
            if np.shape(chosen) != action.shape:
                raise ValueError(
                    f"the behaviour returned an action of shape {np.shape(chosen)} instead of "
                    f"{action.shape}."
                )
            action[:] = chosen
            held = action[None].repeat(self.hold, axis=0)
            observation, reward, _, _, info = self.env.advance(
                held, pixels=number == self.num_actions
            )
            violated |= info["violation"]
        return observation, reward, violated


def frame_fields(env: GoalEnv) -> dict[str, FieldSpec]:
    """Return the layout of the fields that are recorded for a world."""
    size = env.task.actions_per_block * env.action_space.shape[0]
    fields = {
        "action": FieldSpec((size,), "<f4"),
        "reward": FieldSpec((), "<f4"),
        "violation": FieldSpec((), "|b1"),
    }
    for name in OBSERVATION_FIELDS:
        space = env.observation_space.spaces.get(name)
        if isinstance(space, spaces.Box):
            fields[name] = FieldSpec(space.shape, space.dtype.str)
    return fields


def is_finished(folder: Path, request: Request, episodes: range) -> bool:
    """Return whether a chunk has a marker and the checksum in it matches the bytes on disk."""
    file = marker(folder, episodes)
    if not file.exists():
        return False
    rows = request.rows(episodes)
    fields = {
        name: np.load(folder / "data" / f"{name}.npy", mmap_mode="r")[rows]
        for name in request.fields
    }
    return file.read_text(encoding="utf-8") == checksum(fields)


def marker(folder: Path, episodes: range) -> Path:
    """Return the path of the file that marks a chunk as finished and contains its checksum."""
    return folder / "chunks" / f"{episodes.start}"


def checksum(rows: Mapping[str, NDArray[Any]]) -> str:
    """Return the CRC-32 of contiguous arrays, which detects damage by a crash or a bad disk."""
    value = 0
    for name in sorted(rows):
        value = zlib.crc32(rows[name].data, value)
    return f"{value:08x}"


def _write_rows(file: Path, first_row: int, rows: NDArray[Any]) -> None:
    # Write to the file instead of a memory map. A full disk then raises OSError and does not kill
    # the process.
    offset = np.load(file, mmap_mode="r").offset
    with file.open("r+b") as stream:
        stream.seek(offset + first_row * rows[:1].nbytes)
        stream.write(rows.data)
