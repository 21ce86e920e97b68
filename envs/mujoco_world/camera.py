"""Pinhole cameras, and the rays of their pixels."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]
SAMPLES = {4: slice(None), 2: slice(0, 4, 3)}  # rays per pixel, as a slice of a 2 x 2 grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Where frames are taken from: a pinhole camera with a square frame.

    Attributes:
        position: Position of the pinhole [m].
        target: Point in the middle of the frame [m].
        up: Direction that points to the top of the frame.
        field_of_view: Angle between the frame's lower and upper edge [rad].
    """

    position: Vector
    target: Vector
    up: Vector = (0.0, 0.0, 1.0)
    field_of_view: float = 0.8

    def __post_init__(self) -> None:
        if not 0.0 < self.field_of_view < np.pi:
            raise ValueError(
                f"field_of_view must be an angle between 0 and pi [rad], got {self.field_of_view}."
            )
        if not np.linalg.norm(np.cross(np.subtract(self.target, self.position), self.up)) > 0.0:
            raise ValueError("The camera looks along its up direction, or at its own position.")

    @classmethod
    def overhead(
        cls, *, extent: float, centre: tuple[float, float] = (0.0, 0.0), height: float = 4.0
    ) -> Camera:
        """Return a camera that looks down on a square of the floor, with +y up in the frame.

        Args:
            extent: Side of the square [m].
            centre: Its middle [m].
            height: Height of the camera in extents; a larger one is nearer to an orthographic view.
        """
        x, y = centre
        return cls(
            position=(x, y, height * extent),
            target=(x, y, 0.0),
            up=(0.0, 1.0, 0.0),
            field_of_view=float(2.0 * np.arctan(0.5 / height)),
        )

    @property
    def axes(self) -> NDArray[np.float64]:
        """Unit vectors to the right of the frame, down and forward, as rows [3, 3]."""
        forward = np.subtract(self.target, self.position)
        right = np.cross(forward, self.up)
        down = np.cross(forward, right)
        return np.stack([axis / np.sqrt((axis * axis).sum()) for axis in (right, down, forward)])

    def rays(self, size: int, samples: int = 4) -> NDArray[np.float64]:
        """Return unit directions [size * size, samples, 3], pixel rows from the top.

        4 samples form a grid, 2 its diagonal.
        """
        steps = ((np.arange(2 * size) + 0.5) / size - 1.0) * np.tan(self.field_of_view / 2.0)
        x, y = np.meshgrid(steps, steps)
        right, down, forward = self.axes
        rays = forward + x[..., None] * right + y[..., None] * down
        rays /= np.sqrt((rays * rays).sum(axis=-1, keepdims=True))
        by_pixel = (
            rays.reshape(size, 2, size, 2, 3).transpose(0, 2, 1, 3, 4).reshape(size * size, 4, 3)
        )
        return np.ascontiguousarray(by_pixel[:, SAMPLES[samples]])


@dataclass(frozen=True, slots=True)
class CornerGrid:
    """The corners of the pixels, ``side`` x ``side``.

    A frame of odd size has one extra row and column.

    Attributes:
        side: Odd.
        rays: Unit directions to the right, down and forward [3, side * side].
        every_second: The corners in every second row and column.
        nearby: For each corner the one before it among those, counted among those.
    """

    side: int
    rays: NDArray[np.float64]
    every_second: NDArray[np.intp]
    nearby: NDArray[np.intp]

    def between_unlike(
        self, geoms: NDArray[np.int32], normals: NDArray[np.float64]
    ) -> NDArray[np.intp]:
        """Return the corners that need rays of their own.

        Their neighbours in ``every_second`` [Q] lie on different faces, according to geoms [Q] and
        normals [Q, 3].
        """
        half = self.side // 2 + 1
        x, y, z = normals.T
        faces = (16.0 * geoms + x + 2.0 * y + 4.0 * z).reshape(half, half)
        across, down = faces[:, 1:] != faces[:, :-1], faces[1:] != faces[:-1]
        cells = across[1:] | across[:-1] | down[:, 1:] | down[:, :-1]
        between = np.zeros((self.side, self.side), np.bool_)
        between[1::2, 1::2] = cells
        for before_or_after in (np.s_[:-1:2], np.s_[2::2]):
            between[before_or_after, 1::2] |= cells
            between[1::2, before_or_after] |= cells
        return np.flatnonzero(between)


@functools.lru_cache(maxsize=8)
def shared_rays(camera: Camera, size: int, samples: int) -> NDArray[np.float64]:
    """Return ``camera.rays``, shared by all worlds with this camera and read-only."""
    rays = camera.rays(size, samples)
    rays.flags.writeable = False
    return rays


@functools.lru_cache(maxsize=8)
def corner_grid(camera: Camera, size: int) -> CornerGrid:
    """Return the pixel corners of a frame, shared by all worlds with this camera."""
    side = size + 1 + size % 2
    steps = (np.arange(side) * (2.0 / size) - 1.0) * np.tan(camera.field_of_view / 2.0)
    x, y = np.meshgrid(steps, steps)
    rays = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    corners, half = np.arange(side * side).reshape(side, side), side // 2 + 1
    nearby = (
        np.arange(half * half).reshape(half, half).repeat(2, axis=0).repeat(2, axis=1)[:-1, :-1]
    )
    return CornerGrid(
        side, rays / np.sqrt((rays * rays).sum(axis=0)), corners[::2, ::2].ravel(), nearby.ravel()
    )
