"""Encode frames as PNG or video, and decode what other libraries encoded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.data.manifest import DatasetError

CODEC = "h264"


def encode_png(frame: NDArray[np.uint8]) -> bytes:
    """Return a frame uint8 [s, s, 3] as PNG, which loses nothing."""
    return cv2.imencode(".png", frame[..., ::-1])[1].tobytes()


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """Return an encoded image (PNG, JPEG, ...) as uint8 [H, W, 3].

    Raises:
        DatasetError: The bytes are not an image.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise DatasetError("an image cannot be decoded.")
    return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], *, fps: int) -> None:
    """Write frames [N, s, s, 3] as H.264 in MP4. Colours lose a little; ``s`` is even.

    Raises:
        ImportError: PyAV is not installed.
    """
    av = _import_av()
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODEC, rate=fps, options={"crf": "10", "g": "2"})
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())


def read_video(path: Path, *, first: float, count: int, fps: float) -> NDArray[np.uint8]:
    """Return ``count`` frames [count, H, W, 3] of a video from the time ``first`` [s] on.

    Raises:
        DatasetError: The video is damaged or too short.
        ImportError: PyAV is not installed.
    """
    av = _import_av()
    try:
        with av.open(str(path)) as container:
            frames = _read_frames(container, first, count, fps)
    except (av.FFmpegError, OSError) as error:
        raise DatasetError(f"{path} cannot be decoded ({error}).") from error
    found = list(frames)
    if len(found) < count:
        raise DatasetError(f"{path} has {len(found)} frames from {first:.3f} s on, not {count}.")
    return np.stack(found)


def _read_frames(container: Any, first: float, count: int, fps: float) -> list[NDArray[np.uint8]]:
    stream = container.streams.video[0]
    container.seek(int(first / stream.time_base), stream=stream)
    frames: list[NDArray[np.uint8]] = []
    for frame in container.decode(stream):
        if frame.time >= first - 0.5 / fps:
            frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == count:
                break
    return frames


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "PyAV, which reads and writes videos, is not installed. "
            "Install it with: pip install 'jepabench[video]'"
        ) from error
    return av
