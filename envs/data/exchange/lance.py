"""The Lance tables of stable-worldmodel: one row per frame, frames as encoded images.

``episode_idx`` and ``step_idx`` give the place of each row. An episode of T transitions has T+1
rows, and its last action is NaN. Ours stores frames as PNG without loss (stable-worldmodel writes
JPEG and reads both) and numbers with the type that they have.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.exchange.images import decode_image, encode_png
from jepabench.envs.data.exchange.recordings import Source, export_rows
from jepabench.envs.data.manifest import DatasetError, read_provenance

_PROVENANCE = b"jepabench_provenance"
_INDEX = ("episode_idx", "step_idx")


def export_lance(dataset: EpisodeDataset, path: Path) -> None:
    """Write a dataset as one Lance table, which stable-worldmodel opens.

    Args:
        dataset: The episodes.
        path: A new folder whose name ends in ``.lance``.

    Raises:
        DatasetError: ``path`` does not end in ``.lance``.
        ImportError: Pylance is not installed.
    """
    lance = _import_lance()
    if path.suffix != ".lance":
        raise DatasetError(f"The folder of a Lance table must end in '.lance', got {path.name!r}.")
    first = _make_batch(dataset, 0, None)
    provenance = json.dumps(asdict(dataset.manifest.provenance)).encode()
    schema = first.schema.with_metadata({_PROVENANCE: provenance})
    batches = (_make_batch(dataset, index, schema) for index in range(len(dataset)))
    folder = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches), str(folder))
        folder.rename(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def open_lance(path: Path) -> Source:
    """Open a Lance table of stable-worldmodel.

    Raises:
        DatasetError: It cannot be read, or has another layout.
        ImportError: Pylance is not installed.
    """
    lance = _import_lance()
    try:
        table = lance.dataset(str(path))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as a Lance table ({error}).") from error
    names = table.schema.names
    if missing := [name for name in _INDEX if name not in names]:
        raise DatasetError(
            f"{path} is not a Lance table of stable-worldmodel: it has no column {missing[0]!r}."
        )
    stated = (table.schema.metadata or {}).get(_PROVENANCE)
    provenance = None if stated is None else read_provenance(stated)
    return Source(
        name=str(path),
        columns=tuple(name for name in names if name not in _INDEX),
        recordings=_read(table),
        provenance=provenance,
        rate=None if provenance is None else "model",
    )


def _make_batch(dataset: EpisodeDataset, index: int, schema: pa.Schema | None) -> pa.RecordBatch:
    rows = export_rows(dataset, index, last_action=np.nan)
    count = len(rows["action"])
    places = (np.full(count, index, np.int32), np.arange(count, dtype=np.int32))
    columns: dict[str, pa.Array] = dict(zip(_INDEX, map(pa.array, places), strict=True))
    for name, values in rows.items():
        if name == "pixels":
            columns[name] = pa.array([encode_png(frame) for frame in values], pa.binary())
            continue
        flat = values.reshape(count, -1)
        numbers = flat.astype(np.float32) if flat.dtype == np.bool_ else flat
        columns[name] = pa.FixedSizeListArray.from_arrays(
            pa.array(numbers.reshape(-1)), flat.shape[1]
        )
    if schema is None:
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)


def _read(table: Any) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield one episode at a time; its rows may be in several batches."""
    current, parts = None, []
    for batch in table.to_batches():
        episodes = batch.column("episode_idx").to_numpy()
        ends = [*(np.flatnonzero(np.diff(episodes)) + 1).tolist(), len(episodes)]
        first = 0
        for end in ends:
            if parts and episodes[first] != current:
                yield _join(parts)
                parts = []
            current = episodes[first]
            parts.append(batch.slice(first, end - first))
            first = end
    if parts:
        yield _join(parts)


def _join(parts: list[pa.RecordBatch]) -> dict[str, NDArray[Any]]:
    table = pa.Table.from_batches(parts).combine_chunks()
    return {name: _to_numpy(table.column(name)) for name in table.schema.names}


def _to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    values = column.combine_chunks()
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return np.stack([decode_image(item) for item in values.to_pylist()])
    if pa.types.is_fixed_size_list(values.type):
        numbers = values.flatten().to_numpy(zero_copy_only=False)
        return numbers.reshape(len(values), values.type.list_size)
    return values.to_numpy(zero_copy_only=False)


def _import_lance() -> Any:
    try:
        import lance
    except ImportError as error:
        raise ImportError(
            "Lance is not installed. Install it with: pip install 'jepabench[lance]'"
        ) from error
    return lance
