"""Export datasets to Minari and import Minari datasets. Frames are stored without JPEG loss."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.data.episodes import (
    OBSERVATION_FIELDS,
    Episode,
    EpisodeDataset,
    encode_seed,
)
from jepabench.envs.data.exchange.recordings import Source, read_episodes
from jepabench.envs.data.manifest import DatasetError, FieldSpec, Provenance, read_provenance
from jepabench.envs.data.writing import write_dataset
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import make

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec
    from minari import MinariDataset

_PROVENANCE = "jepabench_provenance"
_SINGLE = ("observation",)


def export_minari(
    dataset: EpisodeDataset,
    minari_id: str,
    *,
    author: str = "JEPA Bench",
    author_email: str = "not stated",
    code_permalink: str = "not stated",
) -> MinariDataset:
    """Write a dataset as a local Minari dataset, which ``minari upload`` can publish.

    A step of the Minari dataset is a model step. ``infos["violation"]`` [T+1] starts with the
    reset, as in Gymnasium.

    Args:
        dataset: Dataset of a registered task.
        minari_id: Id ``namespace/name-v0``; a namespace has at least two characters.
        author, author_email, code_permalink: Metadata of the Minari dataset.

    Returns:
        The Minari dataset.

    Raises:
        DatasetError: The id is invalid, or a dataset with this id exists.
        ImportError: Minari is not installed.
    """
    minari = _import_minari()
    folder = _folder(minari_id)
    if folder.exists():
        raise DatasetError(
            f"The Minari dataset {minari_id!r} exists already. Choose another name or version."
        )
    manifest = dataset.manifest
    layout = {name: manifest.fields[name] for name in OBSERVATION_FIELDS if name in manifest.fields}
    try:
        # Minari warns that the metadata has no Gymnasium spec. There is none for model steps.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            exported = minari.create_dataset_from_buffers(
                minari_id,
                [_buffer(episode) for episode in dataset],
                observation_space=spaces.Dict(
                    {name: _space(field) for name, field in layout.items()}
                ),
                action_space=ActionBlock(make(manifest.task_id)).action_space,
                algorithm_name=manifest.behaviour,
                author=author,
                author_email=author_email,
                code_permalink=code_permalink,
                description=f"{manifest.task_id}, {manifest.split}. One step is "
                f"{manifest.action_block} control steps.",
                jpeg_encoding=False,
            )
        exported.storage.update_metadata({_PROVENANCE: json.dumps(asdict(manifest.provenance))})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return exported


def import_minari(
    minari_id: str, path: str | Path, *, provenance: Provenance | None = None
) -> EpisodeDataset:
    """Convert a local Minari dataset of a goal-conditioned task to a dataset folder.

    Args:
        minari_id: Id of a local dataset. ``minari download`` fetches remote ones.
        path: The new folder.
        provenance: Origin of the data. Datasets that ``export_minari`` wrote contain it.

    Raises:
        DatasetError: There is no such dataset, ``provenance`` is missing, or the shapes, ranges
            or rate of the data differ from those of the task.
        ImportError: Minari is not installed.
    """
    source = open_minari(minari_id)
    provenance = provenance or source.provenance
    if provenance is None:
        raise DatasetError(
            f"{minari_id!r} does not state its task. Pass provenance=Provenance.of(task_id, "
            "behaviour=...)."
        )
    episodes = read_episodes(source, provenance.task_id)
    return write_dataset(path, episodes, provenance=provenance)


def open_minari(minari_id: str) -> Source:
    """Open a local Minari dataset.

    Entries of a dictionary of observations are columns; other observations are the column
    "observation". The rate is known if Minari stored how the environment was made.

    Raises:
        DatasetError: There is no such dataset.
        ImportError: Minari is not installed.
    """
    minari = _import_minari()
    if not _folder(minari_id).exists():
        raise DatasetError(
            str(unknown_name("Minari dataset", minari_id, minari.list_local_datasets()))
        )
    source = minari.load_dataset(minari_id)
    stated = source.storage.metadata.get(_PROVENANCE)
    provenance = None if stated is None else read_provenance(stated)
    observations = source.observation_space
    names = tuple(observations.keys()) if isinstance(observations, spaces.Dict) else _SINGLE
    return Source(
        name=repr(minari_id),
        columns=(*names, "action", "reward", "violation", "terminated", "truncated", "seed"),
        recordings=_read(source),
        provenance=provenance,
        rate=_find_rate(source.env_spec, provenance),
    )


def _find_rate(recorded: EnvSpec | None, provenance: Provenance | None) -> str | None:
    """Return the rate of data, from how their environment was made."""
    if provenance is not None:
        return "model"
    if recorded is None:
        return None
    wrappers = [wrapper.name for wrapper in recorded.additional_wrappers]
    return "model" if ActionBlock.__name__ in wrappers else "control"


def _read(source: MinariDataset) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the rows of each episode. Minari has one action, reward and end fewer than frames."""
    metadata = source.storage.get_episode_metadata(source.episode_indices)
    for entry, described in zip(source, metadata, strict=True):
        frames = entry.observations
        steps = {
            "action": entry.actions,
            "reward": entry.rewards,
            "terminated": entry.terminations,
            "truncated": entry.truncations,
        }
        rows = {
            name: np.concatenate([values, np.zeros_like(values[:1])])
            for name, values in ((name, np.asarray(values)) for name, values in steps.items())
        }
        violations = (entry.infos or {}).get("violation", np.zeros(len(entry) + 1, np.bool_))
        rows["violation"] = np.append(violations[1:], False)
        rows["seed"] = np.full(len(entry) + 1, encode_seed(int(described.get("seed", -1))))
        named = frames if isinstance(frames, dict) else {_SINGLE[0]: frames}
        yield {name: np.asarray(values) for name, values in named.items()} | rows


def _import_minari() -> Any:
    try:
        import minari
    except ImportError as error:
        raise ImportError(
            "Minari is not installed. Install it with: pip install 'jepabench[minari]'"
        ) from error
    return minari


def _folder(minari_id: str) -> Path:
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    try:
        parse_dataset_id(minari_id)
    except (ValueError, TypeError):
        raise DatasetError(
            f"{minari_id!r} is not a valid Minari id. An id consists of a namespace of at least "
            "two characters, a name and a version, such as 'jepabench/two-room-random-v0'."
        ) from None
    return get_dataset_path(minari_id)


def _space(field: FieldSpec) -> spaces.Box:
    dtype = np.dtype(field.dtype)
    low, high = (0, 255) if dtype == np.uint8 else (-np.inf, np.inf)
    return spaces.Box(low, high, field.shape, dtype.type)


def _buffer(episode: Episode) -> Any:
    from minari.data_collector import EpisodeBuffer

    is_last = np.arange(len(episode)) == len(episode) - 1
    # Minari's collector stores lists. Arrays work too, and these are views of the memory map.
    return EpisodeBuffer(
        seed=episode.seed if episode.seed >= 0 else None,
        observations=dict(episode.observations),
        actions=episode.actions,  # pyright: ignore[reportArgumentType]
        rewards=episode.rewards,  # pyright: ignore[reportArgumentType]
        terminations=is_last & episode.terminated,
        truncations=is_last & episode.truncated,
        infos={"violation": np.concatenate([[False], episode.violations])},
    )
