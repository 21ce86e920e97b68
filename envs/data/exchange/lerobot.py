"""LeRobot datasets of version 3: Parquet tables, and frames as images or videos.

An episode of T transitions has T+1 frames, as in LeRobot's own recordings: each frame has an
action, and that of the last frame leaves it to where nothing was recorded.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.exchange.images import (
    CODEC,
    decode_image,
    encode_png,
    read_video,
    write_video,
)
from jepabench.envs.data.exchange.recordings import Source, export_rows
from jepabench.envs.data.manifest import DatasetError, read_provenance
from jepabench.envs.registry import get_task

VERSION = "v3.0"
_PROVENANCE = "jepabench_provenance"
_INDEX = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_FILES_PER_CHUNK = 1000
_FRAMES_PER_FILE = 20_000
# Field of ours to feature of LeRobot, where the name differs.
_FEATURES = {
    "observation": "observation.state",
    "achieved_goal": "observation.achieved_goal",
    "desired_goal": "observation.desired_goal",
    "pixels": "observation.image",
    "reward": "next.reward",
    "violation": "next.violation",
    "terminated": "next.terminated",
    "truncated": "next.truncated",
}


def open_lerobot(path: Path) -> Source:
    """Open the folder of a LeRobot dataset.

    Raises:
        DatasetError: A file is missing or damaged, or the dataset has another version.
    """
    info_file = path / "meta" / "info.json"
    if not info_file.is_file():
        raise DatasetError(f"{path} is not a LeRobot dataset: it has no meta/info.json.")
    try:
        info = json.loads(info_file.read_text(encoding="utf-8"))
        version, features = info["codebase_version"], dict(info["features"])
        fps = float(info["fps"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{info_file} cannot be read ({error!r}).") from error
    if wrong := next((name for name in features if "/" in name or "\\" in name), None):
        raise DatasetError(f"{info_file} has a feature {wrong!r}; names have no slashes.")
    if not str(version).startswith("v3."):
        raise DatasetError(
            f"{path} has LeRobot version {version!r}, this software reads {VERSION}. Convert it "
            "with lerobot.datasets.v30.convert_dataset_v21_to_v30."
        )
    columns = tuple(name for name in features if name not in _INDEX)
    provenance = read_provenance(info[_PROVENANCE]) if _PROVENANCE in info else None
    return Source(
        name=str(path),
        columns=columns,
        recordings=_read(path, {name: features[name] for name in columns}, fps),
        provenance=provenance,
        rate=None if provenance is None else "model",
    )


def _read(path: Path, features: Mapping[str, Any], fps: float) -> Iterator[dict[str, NDArray[Any]]]:
    opened: tuple[Path | None, pa.Table | None] = (None, None)
    for episode in _read_episodes(path):
        try:
            place = {part: int(episode[f"data/{part}"]) for part in ("chunk_index", "file_index")}
            file = path / _DATA.format(**place)
            if file != opened[0]:
                opened = file, pq.read_table(file)
            table = opened[1]
            assert table is not None
            rows = table.filter(pc.equal(table["episode_index"], episode["episode_index"]))  # pyright: ignore[reportAttributeAccessIssue]
            yield {
                name: _read_video(path, episode, name, fps)
                if feature["dtype"] == "video"
                else _to_numpy(rows[name], feature["shape"])
                for name, feature in features.items()
            }
        except (OSError, KeyError, pa.ArrowException) as error:
            number = episode.get("episode_index")
            raise DatasetError(f"Episode {number} of {path} cannot be read ({error!r}).") from error


def _read_episodes(path: Path) -> list[dict[str, Any]]:
    files = sorted((path / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise DatasetError(f"{path} has no table of its episodes in meta/episodes.")
    rows: list[dict[str, Any]] = []
    for file in files:
        wanted = [name for name in pq.read_schema(file).names if not name.startswith("stats/")]
        rows += pq.read_table(file, columns=wanted).to_pylist()
    return rows


def _read_video(path: Path, episode: Mapping[str, Any], name: str, fps: float) -> NDArray[np.uint8]:
    place = {part: int(episode[f"videos/{name}/{part}"]) for part in ("chunk_index", "file_index")}
    file = path / _VIDEO.format(video_key=name, **place)
    first = float(episode[f"videos/{name}/from_timestamp"])
    return read_video(file, first=first, count=int(episode["length"]), fps=fps)


def _to_numpy(column: pa.ChunkedArray, shape: list[int]) -> NDArray[Any]:
    values = column.combine_chunks()
    if pa.types.is_struct(values.type):
        return np.stack([decode_image(item["bytes"]) for item in values.to_pylist()])
    if pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type):
        numbers = values.flatten().to_numpy(zero_copy_only=False)
        return numbers.reshape(len(values), *shape)
    return values.to_numpy(zero_copy_only=False)


def export_lerobot(dataset: EpisodeDataset, path: Path, *, video: bool = False) -> None:
    """Write a dataset as a LeRobot dataset.

    Args:
        dataset: Dataset of a registered task.
        path: The new folder.
        video: Whether frames are written as H.264 videos, which are small and lose a little,
            instead of as PNG, which lose nothing.

    Raises:
        DatasetError: A video of frames with an odd side.
        ImportError: PyAV, which ``video`` needs, is not installed.
    """
    writer = _Writer(dataset, path.with_name(f".{path.name}.{os.getpid()}"), video)
    try:
        writer.write()
        writer.folder.rename(path)
    except BaseException:
        shutil.rmtree(writer.folder, ignore_errors=True)
        raise


class _Writer:
    """Writes one dataset into a new folder."""

    def __init__(self, dataset: EpisodeDataset, folder: Path, video: bool) -> None:
        self.dataset, self.folder = dataset, folder
        task = get_task(dataset.manifest.task_id)
        self.fps = max(1, round(1 / (task.control_dt * task.action_block)))
        self.task = f"{task.id}: {task.success}"
        self.video = video and "pixels" in dataset.fields
        side = dataset.manifest.pixels
        if self.video and side is not None and side % 2:
            raise DatasetError(f"A video needs frames with an even side, these have {side}.")
        self.statistics: dict[str, _Statistics] = {}
        self.features: dict[str, dict[str, Any]] = {}

    def write(self) -> None:
        episodes, file_index, writer = [], 0, None
        for index in range(len(self.dataset)):
            rows = {
                _FEATURES.get(name, name): values
                for name, values in export_rows(self.dataset, index).items()
            }
            episodes.append(self._describe(index, rows, file_index))
            table = self._make_table(index, rows)
            if writer is None:
                writer = pq.ParquetWriter(self._path(_DATA, file_index), table.schema)
            writer.write_table(table)
            if (index + 1) * table.num_rows // _FRAMES_PER_FILE > file_index:
                writer.close()
                file_index, writer = file_index + 1, None
        if writer is not None:
            writer.close()
        table = pa.Table.from_pylist(episodes)
        meta = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        pq.write_table(table, self._path(meta, 0))
        self._write_meta()

    def _path(self, pattern: str, number: int, **names: str) -> Path:
        chunk, file = divmod(number, _FILES_PER_CHUNK)
        path = self.folder / pattern.format(chunk_index=chunk, file_index=file, **names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _describe(
        self, index: int, rows: Mapping[str, NDArray[Any]], file_index: int
    ) -> dict[str, Any]:
        """Write the video of an episode, if any, and return its row of the episode table."""
        first, count = int(self.dataset.starts[index]), len(rows["action"])
        chunk, file = divmod(file_index, _FILES_PER_CHUNK)
        entry = {
            "episode_index": index,
            "tasks": [self.task],
            "length": count,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": first,
            "dataset_to_index": first + count,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        if self.video:
            name = _FEATURES["pixels"]
            write_video(self._path(_VIDEO, index, video_key=name), rows[name], fps=self.fps)
            chunk, file = divmod(index, _FILES_PER_CHUNK)
            entry |= {
                f"videos/{name}/chunk_index": chunk,
                f"videos/{name}/file_index": file,
                f"videos/{name}/from_timestamp": 0.0,
                f"videos/{name}/to_timestamp": count / self.fps,
            }
        return entry

    def _make_table(self, index: int, rows: Mapping[str, NDArray[Any]]) -> pa.Table:
        first, count = int(self.dataset.starts[index]), len(rows["action"])
        columns: dict[str, pa.Array] = {}
        for name, values in rows.items():
            self.statistics.setdefault(name, _Statistics()).add(values)
            kind = ("video" if self.video else "image") if values.ndim == 4 else None
            self.features.setdefault(name, _describe_feature(values, kind, self.fps))
            if kind == "image":
                images = [{"bytes": encode_png(frame), "path": None} for frame in values]
                kinds = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
                columns[name] = pa.array(images, kinds)
            elif kind is None and values.ndim == 2 and values.shape[1] > 1:
                columns[name] = pa.FixedSizeListArray.from_arrays(
                    pa.array(values.reshape(-1)), values.shape[1]
                )
            elif kind is None:
                columns[name] = pa.array(values.reshape(count))
        steps = np.arange(count)
        columns |= {
            "timestamp": pa.array((steps / self.fps).astype(np.float32)),
            "frame_index": pa.array(steps),
            "episode_index": pa.array(np.full(count, index)),
            "index": pa.array(first + steps),
            "task_index": pa.array(np.zeros(count, np.int64)),
        }
        return pa.table(columns)

    def _write_meta(self) -> None:
        manifest = self.dataset.manifest
        kinds = ("float32", *["int64"] * 4)
        index = {
            name: {"dtype": kind, "shape": [1], "names": None}
            for name, kind in zip(_INDEX, kinds, strict=True)
        }
        info = {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": manifest.num_episodes,
            "total_frames": manifest.num_frames,
            "total_tasks": 1,
            "chunks_size": _FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self.fps,
            "splits": {"train": f"0:{manifest.num_episodes}"},
            "data_path": _DATA,
            "video_path": _VIDEO if self.video else None,
            "features": self.features | index,
            _PROVENANCE: json.dumps(asdict(manifest.provenance)),
        }
        statistics = {name: found.summarize() for name, found in self.statistics.items()}
        meta = self.folder / "meta"
        for name, content in (("info", info), ("stats", statistics)):
            (meta / f"{name}.json").write_text(json.dumps(content, indent=4), encoding="utf-8")
        import pandas as pd

        pd.DataFrame({"task_index": [0]}, index=[self.task]).to_parquet(meta / "tasks.parquet")


def _describe_feature(values: NDArray[Any], kind: str | None, fps: int) -> dict[str, Any]:
    if kind is None:
        return {
            "dtype": values.dtype.name,
            "shape": list(values.shape[1:]) or [1],
            "names": None,
        }
    shape = list(values.shape[1:])
    feature = {"dtype": kind, "shape": shape, "names": ["height", "width", "channels"]}
    if kind == "video":
        feature["info"] = {
            "video.height": shape[0],
            "video.width": shape[1],
            "video.codec": CODEC,
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": shape[2],
            "has_audio": False,
        }
    return feature


class _Statistics:
    """Minimum, maximum, mean and standard deviation of a feature, as LeRobot states them.

    Those of frames are per channel, in [0, 1].
    """

    def __init__(self) -> None:
        self.count, self.frames = 0, 0

    def add(self, values: NDArray[Any]) -> None:
        """Take the rows [R, ...] of one episode into account."""
        self.is_image = values.ndim == 4
        flat = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values[:, None]
        flat = flat.astype(np.float64) / (255 if self.is_image else 1)
        sums = np.stack([flat.sum(0), (flat**2).sum(0)])
        low, high = flat.min(0), flat.max(0)
        if self.count:
            low, high = np.minimum(low, self.low), np.maximum(high, self.high)
            sums = sums + self.sums
        self.low, self.high, self.sums = low, high, sums
        self.count, self.frames = self.count + len(flat), self.frames + len(values)

    def summarize(self) -> dict[str, Any]:
        """Return the statistics as JSON values."""
        mean = self.sums[0] / self.count
        std = np.sqrt(np.maximum(0, self.sums[1] / self.count - mean**2))
        values = {"min": self.low, "max": self.high, "mean": mean, "std": std}
        shape = (-1, 1, 1) if self.is_image else (-1,)
        return {name: found.reshape(shape).tolist() for name, found in values.items()} | {
            "count": [self.frames]
        }
