"""The HDF5 files of stable-worldmodel: one dataset per column, episodes one after another.

``ep_len`` [E] and ``ep_offset`` [E] give the rows of each episode. An episode of T transitions has
T+1 rows, and its last action is NaN.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.exchange.recordings import Source, export_rows
from jepabench.envs.data.files import atomic_write
from jepabench.envs.data.manifest import DatasetError, Provenance, read_provenance

PROVENANCE = "jepabench_provenance"
_INDEX = ("ep_len", "ep_offset")


def export_hdf5(dataset: EpisodeDataset, path: Path) -> None:
    """Write a dataset as one HDF5 file that stable-worldmodel opens with ``format="hdf5"``.

    Raises:
        ImportError: H5py is not installed.
    """
    h5py = _import_h5py()
    lengths = dataset.lengths + 1
    with atomic_write(path) as partial, h5py.File(partial, "w", libver="latest") as file:
        for index in range(len(dataset)):
            rows = export_rows(dataset, index, last_action=np.nan)
            for name, values in rows.items():
                if index == 0:
                    shape = (int(lengths.sum()), *values.shape[1:])
                    chunks = (min(64, shape[0]), *values.shape[1:])
                    file.create_dataset(name, shape, values.dtype, chunks=chunks)
                first = int(dataset.starts[index])
                file[name][first : first + len(values)] = values
        file["ep_len"] = lengths.astype(np.int32)
        file["ep_offset"] = dataset.starts.astype(np.int64)
        file.attrs[PROVENANCE] = json.dumps(asdict(dataset.manifest.provenance))


def open_hdf5(path: Path) -> Source:
    """Open an HDF5 file of stable-worldmodel.

    Raises:
        DatasetError: The file is missing, damaged or of another layout.
        ImportError: H5py is not installed.
    """
    h5py = _import_h5py()
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in _INDEX if name not in file]
            if missing:
                raise DatasetError(
                    f"{path} is not an HDF5 file of stable-worldmodel: it has no {missing[0]!r}."
                )
            columns = tuple(
                name
                for name, item in file.items()
                if name not in _INDEX and isinstance(item, h5py.Dataset) and item.ndim > 0
            )
            stated = file.attrs.get(PROVENANCE)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as HDF5 ({error}).") from error
    provenance: Provenance | None = None if stated is None else read_provenance(stated)
    return Source(
        name=str(path),
        columns=columns,
        recordings=_read(path, columns),
        provenance=provenance,
        rate=None if provenance is None else "model",
    )


def _read(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, NDArray[Any]]]:
    h5py = _import_h5py()
    with h5py.File(path, "r") as file:
        for length, first in zip(file["ep_len"][:], file["ep_offset"][:], strict=True):
            rows = slice(int(first), int(first) + int(length))
            try:
                yield {name: file[name][rows] for name in columns}
            except OSError as error:
                raise DatasetError(
                    f"{path} cannot be read ({error}). If its columns are compressed, run: pip "
                    "install hdf5plugin"
                ) from error


def _import_h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "h5py is not installed. Install it with: pip install 'jepabench[hdf5]'"
        ) from error
    if importlib.util.find_spec("hdf5plugin"):
        importlib.import_module("hdf5plugin")  # registers the filters of compressed columns
    return h5py
