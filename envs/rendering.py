"""A camera that needs no graphics driver: rays cast into a MuJoCo model on the CPU.

Frames are the same bytes in every process, so they are part of what an episode reproduces. What stands still is
cast once and kept with its depth; after that only rays near moving geoms are cast, against moving geoms alone.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import copy
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]
_SAMPLES = 4  # rays a pixel, on a 2 x 2 grid
_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_STILL, _MOVING, _HIDDEN = 0, 1, 2  # geom groups of the camera's own copy of the model
_FAR = float(mujoco.mjMAXVAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Where frames are taken from: a pinhole camera with a square frame.

    Attributes:
        position: of the pinhole [m].
        target: point in the middle of the frame [m].
        up: direction that points to the top of the frame.
        field_of_view: angle between the frame's lower and upper edge [rad].
    """

    position: Vector
    target: Vector
    up: Vector = (0.0, 0.0, 1.0)
    field_of_view: float = 0.8

    def __post_init__(self) -> None:
        if not 0.0 < self.field_of_view < np.pi:
            raise ValueError(f"field_of_view is an angle between 0 and pi [rad], got {self.field_of_view}.")
        if not np.linalg.norm(np.cross(np.subtract(self.target, self.position), self.up)) > 0.0:
            raise ValueError("The camera looks along its up direction, or at its own position.")

    @classmethod
    def overhead(cls, *, extent: float, centre: tuple[float, float] = (0.0, 0.0), height: float = 4.0) -> Camera:
        """Returns a camera that looks straight down on a square of the floor, +y to the top of the frame.

        Args:
            extent: side of the square [m].
            centre: its middle [m].
            height: of the camera, in extents. The higher, the nearer to an orthographic view.
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

    def rays(self, size: int) -> NDArray[np.float64]:
        """Returns unit directions [size * size, samples, 3], pixel rows from the top, samples on a 2 x 2 grid."""
        steps = ((np.arange(2 * size) + 0.5) / size - 1.0) * np.tan(self.field_of_view / 2.0)
        x, y = np.meshgrid(steps, steps)
        right, down, forward = self.axes
        rays = forward + x[..., None] * right + y[..., None] * down
        rays /= np.sqrt((rays * rays).sum(axis=-1, keepdims=True))
        by_pixel = rays.reshape(size, 2, size, 2, 3).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(by_pixel).reshape(size * size, _SAMPLES, 3)


@dataclass(frozen=True, slots=True)
class _StaticView:
    """What stands still, at one frame size: colours [P, samples, 3], depth [P, samples], and the frame [P, 3]."""

    colours: NDArray[np.float64]
    depth: NDArray[np.float64]
    frame: NDArray[np.uint8]


class RayCamera:
    """Takes frames of a MuJoCo model.

    Shading is Lambert's law with one distant light; what faces straight up has just its own colour. Geoms show if
    their group is 0, 1 or 2 and they are not fully transparent; there are no textures, shadows and transparency. Call
    ``invalidate`` whenever the model was changed or something that stands still was moved.

    Args:
        model: the model that the data of ``frame`` belongs to.
        camera: where frames are taken from.
        background: colour where no geom is hit, 0 to 1.
        light: direction towards the light, from above.
        ambient: share of the light that comes from everywhere, 0 to 1.
        checker: side of the squares of the pattern on planes [m], or None for plain planes.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        camera: Camera,
        *,
        background: Vector = (0.62, 0.74, 0.86),
        light: Vector = (-0.4, 0.5, 1.0),
        ambient: float = 0.45,
        checker: float | None = None,
    ) -> None:
        if light[2] <= 0.0:
            raise ValueError(f"The light comes from above, light[2] > 0, got {light}.")
        self.model, self.camera = model, camera
        self.background, self.ambient, self.checker = np.array(background), ambient, checker
        self._light = np.array(light) / light[2]
        self._origin, self._axes = np.array(camera.position), camera.axes
        self._zoom = 0.5 / np.tan(camera.field_of_view / 2.0)
        self._rays: dict[int, NDArray[np.float64]] = {}
        self._views: dict[int, _StaticView] = {}
        self._buffer = (np.empty(0, np.int32), np.empty(0), np.empty(0))
        self.invalidate()

    def invalidate(self) -> None:
        """Forgets what was cast before and reads the model again."""
        model = self._model = copy.copy(self.model)
        self._views.clear()
        with_material = model.geom_matid >= 0
        self._colours = model.geom_rgba[:, :3].astype(np.float64)
        self._colours[with_material] = model.mat_rgba[model.geom_matid[with_material], :3]
        moving = model.body_weldid[model.geom_bodyid] != 0
        shown = (model.geom_group < 3) & (model.geom_rgba[:, 3] > 0.0)
        model.geom_group[:] = np.where(shown, np.where(moving, _MOVING, _STILL), _HIDDEN)
        # MuJoCo sorts out rays by each body's collision volume, and so misses geoms that are only drawn.
        only_drawn = shown & (model.geom_contype == 0) & (model.geom_conaffinity == 0)
        model.body_bvhadr[model.geom_bodyid[only_drawn]] = -1
        self._moving = np.flatnonzero(moving & shown)
        self._boxes = model.geom_aabb[self._moving, None, :3] + model.geom_aabb[self._moving, None, 3:] * _CORNERS

    def frame(self, data: mujoco.MjData, size: int) -> NDArray[np.uint8]:
        """Returns a frame, uint8 [size, size, 3]. The poses in ``data`` have to be up to date (``mj_kinematics``)."""
        if size not in self._views:
            self._views[size] = self._look_at_static(data, size)
        view = self._views[size]
        frame = view.frame.copy()
        pixels = self._pixels_of_moving(data, size)
        if len(pixels):
            geoms, depth, normals = self._cast(data, self._rays[size][pixels], group=_MOVING)
            colours = view.colours[pixels].reshape(-1, 3)
            hit = np.flatnonzero((geoms >= 0) & (depth < view.depth[pixels].ravel()))
            colours[hit] = self._shade(self._colours[geoms[hit]], normals[hit])
            frame[pixels] = _to_bytes(colours)
        return frame.reshape(size, size, 3)

    def _look_at_static(self, data: mujoco.MjData, size: int) -> _StaticView:
        if size not in self._rays:
            self._rays[size] = self.camera.rays(size)
        rays = self._rays[size]
        geoms, depth, normals = self._cast(data, rays, group=_STILL)
        hit = np.flatnonzero(geoms >= 0)
        depth = np.where(geoms < 0, np.inf, depth)
        base = self._colours[geoms[hit]]
        if self.checker is not None:
            on_plane = self._model.geom_type[geoms[hit]] == int(mujoco.mjtGeom.mjGEOM_PLANE)
            points = self._origin + depth[hit, None] * rays.reshape(-1, 3)[hit]
            dark = on_plane & (np.floor(points[:, :2] / self.checker).sum(axis=1) % 2 == 1)
            base[dark] *= 0.94
        colours = np.tile(self.background, (len(geoms), 1))
        colours[hit] = self._shade(base, normals[hit])
        return _StaticView(colours.reshape(-1, _SAMPLES, 3), depth.reshape(-1, _SAMPLES), _to_bytes(colours))

    def _cast(
        self, data: mujoco.MjData, rays: NDArray[np.float64], *, group: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Returns the geoms [R] (-1 for none), distances [R] and normals [R, 3] that rays [..., 3] hit, in a shared buffer."""
        num_rays = rays.size // 3
        if len(self._buffer[0]) < num_rays:
            self._buffer = (np.empty(num_rays, np.int32), np.empty(num_rays), np.empty(3 * num_rays))
        geoms, depth, normals = self._buffer
        geoms, depth, normals = geoms[:num_rays], depth[:num_rays], normals[: 3 * num_rays]
        groups = np.zeros(6, np.uint8)
        groups[group] = 1
        mujoco.mj_multiRay(
            self._model, data, self._origin, rays.reshape(-1), groups, True, -1, geoms, depth, normals, num_rays, _FAR
        )
        return geoms, depth, normals.reshape(-1, 3)

    def _pixels_of_moving(self, data: mujoco.MjData, size: int) -> NDArray[np.intp]:
        """Returns the pixels inside the screen boxes of the moving geoms."""
        if not len(self._moving):
            return self._moving
        turned = np.matmul(self._boxes, data.geom_xmat[self._moving].reshape(-1, 3, 3).transpose(0, 2, 1))
        corners = (turned + (data.geom_xpos[self._moving] - self._origin)[:, None]) @ self._axes.T
        depth = corners[..., 2:]
        mask = np.zeros((size, size), np.bool_)
        if depth.min() <= 0.0:
            mask[:] = True
            return np.flatnonzero(mask)
        places = corners[..., :2] * (self._zoom * size / depth) + 0.5 * size
        boxes = np.concatenate([places.min(axis=1), places.max(axis=1) + 1.0], axis=1).clip(0.0, size)
        for left, top, right, bottom in boxes.astype(np.intp).tolist():
            mask[top:bottom, left:right] = True
        return np.flatnonzero(mask)

    def _shade(self, colours: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.float64]:
        # Written out: a BLAS product may round differently from one processor to the next.
        x, y, z = self._light
        light = np.maximum(normals[:, 0] * x + normals[:, 1] * y + normals[:, 2] * z, 0.0)
        return np.minimum(colours * (self.ambient + (1.0 - self.ambient) * light)[:, None], 1.0)


def _to_bytes(colours: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Returns the mean of each pixel's samples, [P * samples, 3] in 0 to 1, as bytes [P, 3]."""
    return (colours.reshape(-1, _SAMPLES, 3).sum(axis=1) * (255.0 / _SAMPLES) + 0.5).astype(np.uint8)
