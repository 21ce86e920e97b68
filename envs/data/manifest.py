"""The manifest of a dataset: provenance of its episodes, layout and fingerprint.

The manifest is the last file that is written. A dataset that has one is therefore complete.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.registry import check_task_id, get_task
from jepabench.envs.splits import EpisodeSpec

SCHEMA = 1
MANIFEST_FILE = "manifest.json"
_RECORDED_VERSIONS = ("jepabench", "mujoco", "numpy", "pymunk")
_SEGMENT_BYTES = 1 << 24
_NUM_HASH_THREADS = 4


class DatasetError(ValueError):
    """A dataset that cannot be read or must not be written; the message says what to do."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """The layout of one field.

    Attributes:
        shape: Shape of a row, which belongs to one frame.
        dtype: Numpy's name of the type, such as ``|u1``.
    """

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, rows: NDArray[Any]) -> FieldSpec:
        """Return the layout of an array [num_frames, ...]."""
        return cls(tuple(rows.shape[1:]), rows.dtype.str)

    @property
    def nbytes(self) -> int:
        """Number of bytes of a row."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The origin of episodes.

    Attributes:
        task_id: Id of the task with its version.
        split: Split of the episodes.
        behaviour: Name of the policy that acted.
        strata, first_index: Identify the episodes. Episode j of a task and split has index ``j //
            len(strata)`` in the stratum ``strata[j % len(strata)]``, and the dataset starts at j =
            ``first_index``. Without strata, the episodes have no specs.
        action_block: Number of control steps between two frames.
        actions_per_block: Number of distinct actions between two frames.
        versions: Versions of the software that recorded the data.
    """

    task_id: str
    split: str
    behaviour: str
    strata: tuple[str, ...] = ()
    first_index: int = 0
    action_block: int = 1
    actions_per_block: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, task_id: str, *, behaviour: str, split: str = "train", **others: Any) -> Provenance:
        """Return the provenance of data that this software records on a registered task."""
        task = get_task(task_id)
        return cls(
            task_id=task.id,
            split=split,
            behaviour=behaviour,
            action_block=task.action_block,
            actions_per_block=task.actions_per_block,
            versions=installed_versions(),
            **others,
        )

    def episode_spec(self, index: int) -> EpisodeSpec:
        """Return the spec of episode ``index`` of the dataset, for ``reset_to``.

        Raises:
            DatasetError: The episodes have no specs.
        """
        if not self.strata:
            raise DatasetError(
                "The episodes of this dataset have no specs, because its manifest has no strata. "
                "Use their seeds instead."
            )
        number = self.first_index + index
        stratum = self.strata[number % len(self.strata)]
        return EpisodeSpec(self.task_id, self.split, stratum, number // len(self.strata))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Provenance):
    """Provenance, layout and fingerprint of a complete dataset.

    Attributes:
        num_episodes, num_frames: Size of the dataset. T transitions have T + 1 frames.
        fields: Layout of each field, by name.
        fingerprint: SHA-256 of all fields; see ``fingerprint``.
        schema: Version of the format of the folder.
    """

    num_episodes: int
    num_frames: int
    fields: Mapping[str, FieldSpec]
    fingerprint: str
    schema: int = SCHEMA

    @property
    def num_transitions(self) -> int:
        """Number of state-action-next-state triples at the rate of the world model."""
        return self.num_frames - self.num_episodes

    @property
    def pixels(self) -> int | None:
        """Side of the frames, or None if there are none."""
        return self.fields["pixels"].shape[0] if "pixels" in self.fields else None

    @property
    def provenance(self) -> Provenance:
        """The provenance without layout and fingerprint."""
        return Provenance(**{name: getattr(self, name) for name in Provenance.__dataclass_fields__})

    def write(self, folder: Path) -> None:
        """Write the manifest, which completes the dataset."""
        content = asdict(self) | {"pixels": self.pixels}
        (folder / MANIFEST_FILE).write_text(
            json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a dataset folder.

        Raises:
            DatasetError: The manifest is missing, cannot be read, or has another schema version.
        """
        file = folder / MANIFEST_FILE
        if not file.is_file():
            raise DatasetError(_what_is_missing(folder))
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            found = content["schema"]
            if found == SCHEMA:
                check_task_id(content["task_id"])
                content.pop("pixels")
                layout = {
                    name: FieldSpec(tuple(f["shape"]), f["dtype"])
                    for name, f in content.pop("fields").items()
                }
                return cls(**content | {"strata": tuple(content["strata"]), "fields": layout})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{file} is not a valid manifest ({error!r}). Collect the dataset again."
            ) from error
        raise DatasetError(
            f"{folder} has schema version {found!r}, but this software reads {SCHEMA}. Collect the "
            "dataset again."
        )


def read_provenance(text: str | bytes) -> Provenance:
    """Return the provenance that ``json.dumps(asdict(provenance))`` wrote.

    Raises:
        DatasetError: The text is not a provenance.
    """
    try:
        content = json.loads(text)
        provenance = Provenance(**content | {"strata": tuple(content["strata"])})
        check_task_id(provenance.task_id)
        return provenance
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"The stated provenance cannot be read ({error!r}).") from error


def fingerprint(fields: Mapping[str, NDArray[Any]]) -> str:
    """Return a SHA-256 of the names, types, shapes and bytes of arrays, sorted by name.

    The bytes enter as SHA-256 of segments of 16 MiB, which several threads compute in parallel.
    """
    total = hashlib.sha256()
    with ThreadPoolExecutor(_NUM_HASH_THREADS) as pool:
        for name in sorted(fields):
            total.update(f"{name}|{fields[name].dtype.str}|{fields[name].shape}".encode())
            data = np.ascontiguousarray(fields[name]).reshape(-1).view(np.uint8)
            segments = (
                data[first : first + _SEGMENT_BYTES]
                for first in range(0, len(data), _SEGMENT_BYTES)
            )
            for digest in pool.map(lambda segment: hashlib.sha256(segment).digest(), segments):
                total.update(digest)
    return total.hexdigest()


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that determine the bytes of a dataset."""
    versions = {"python": platform.python_version()}
    for name in _RECORDED_VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"  # for example in a clone
    return versions


def half_done_folder(path: Path) -> Path:
    """Return the folder in which ``collect`` keeps the unfinished dataset of ``path``."""
    return path.with_name(f"{path.name}.partial")


def _what_is_missing(folder: Path) -> str:
    if half_done_folder(folder).is_dir():
        return f"The dataset {folder} is incomplete. Run the same collection again to resume."
    if folder.is_dir():
        return f"{folder} is not a complete dataset: it has no {MANIFEST_FILE}. Collect it again."
    return f"There is no dataset at {folder}. Create one with `jepabench collect`."
