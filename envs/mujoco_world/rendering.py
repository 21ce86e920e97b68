"""A camera that needs no graphics driver: rays cast into a MuJoCo model on the CPU.

Frames are the same bytes in every process, so they are part of what an episode reproduces. Under a camera that
stands still, what stands still too is cast once and kept with its depth; after that only rays near moving geoms are
cast, against moving geoms alone. A camera that a body carries casts every second ray, and the rays between where those
do not agree on what they see.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]
_SAMPLES = {4: slice(None), 2: slice(0, 4, 3)}  # rays a pixel: which of a 2 x 2 grid
_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_STILL, _MOVING, _HIDDEN = 0, 1, 2  # geom groups of the camera's own copy of the model
_ALL = (_STILL, _MOVING)
_DARKER = 0.94  # of two squares of the pattern
_SKIN = (
    1e-6  # so far behind its face is a point, to be on one side of a square's edge in the face [m]
)
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
            raise ValueError(
                f"field_of_view is an angle between 0 and pi [rad], got {self.field_of_view}."
            )
        if not np.linalg.norm(np.cross(np.subtract(self.target, self.position), self.up)) > 0.0:
            raise ValueError("The camera looks along its up direction, or at its own position.")

    @classmethod
    def overhead(
        cls, *, extent: float, centre: tuple[float, float] = (0.0, 0.0), height: float = 4.0
    ) -> Camera:
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

    def rays(self, size: int, samples: int = 4) -> NDArray[np.float64]:
        """Returns unit directions [size * size, samples, 3], pixel rows from the top; 4 samples on a grid, 2 on its diagonal."""
        steps = ((np.arange(2 * size) + 0.5) / size - 1.0) * np.tan(self.field_of_view / 2.0)
        x, y = np.meshgrid(steps, steps)
        right, down, forward = self.axes
        rays = forward + x[..., None] * right + y[..., None] * down
        rays /= np.sqrt((rays * rays).sum(axis=-1, keepdims=True))
        by_pixel = (
            rays.reshape(size, 2, size, 2, 3).transpose(0, 2, 1, 3, 4).reshape(size * size, 4, 3)
        )
        return np.ascontiguousarray(by_pixel[:, _SAMPLES[samples]])


@dataclass(frozen=True, slots=True)
class _StaticView:
    """What stands still, at one frame size: colours [P, samples, 3], depth [P, samples], and the frame [P, 3]."""

    colours: NDArray[np.float64]
    depth: NDArray[np.float64]
    frame: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _CornerGrid:
    """The corners of the pixels, ``side`` x ``side``; where a frame has an odd size also a row and a column beyond it.

    Attributes:
        side: odd.
        rays: unit directions to the right, down and forward [3, side * side].
        every_second: the corners in every second row and column.
        nearby: for each corner the one before it among those, counted among those.
    """

    side: int
    rays: NDArray[np.float64]
    every_second: NDArray[np.intp]
    nearby: NDArray[np.intp]

    def between_unlike(
        self, geoms: NDArray[np.int32], normals: NDArray[np.float64]
    ) -> NDArray[np.intp]:
        """Returns the corners between those of ``every_second`` [Q] that are not on one face, by geoms [Q] and normals [Q, 3]."""
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


class RayCamera:
    """Takes frames of a MuJoCo model.

    Shading is Lambert's law with one distant light; what faces straight up has just its own colour. Geoms show if
    their group is 0, 1 or 2 and they are not fully transparent; there are no textures, shadows and transparency. Call
    ``invalidate`` whenever the model, the background or the brightness was changed or something that stands still was moved.

    Attributes:
        light: direction towards the light, of height 1.
        brightness: what all colours are multiplied by.

    Args:
        model: the model that the data of ``frame`` belongs to.
        camera: where frames are taken from.
        background: colour where no geom is hit, 0 to 1.
        light: direction towards the light, from above.
        ambient: share of the light that comes from everywhere, 0 to 1.
        checker: side of the squares of the pattern on planes [m], or None for plain planes. A camera that a body carries
            sees it on everything that stands still, walls too: it shows how near they are.
        samples: rays a pixel of a camera that stands still, 4 or 2. Two take half the time and make coarser edges.
        mount: name of the body that carries the camera, or None for one that stands still. Position, target and up are
            then in the body's frame.
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
        samples: int = 4,
        mount: str | None = None,
    ) -> None:
        if samples not in _SAMPLES:
            raise ValueError(f"samples is 4 or 2, got {samples}.")
        self.model = model
        self.background, self.ambient, self.checker = np.array(background), ambient, checker
        self.brightness = 1.0
        self._samples = samples
        self._mount = None if mount is None else int(model.body(mount).id)
        self._views: dict[int, _StaticView] = {}
        self._buffer = (np.empty(0, np.int32), np.empty(0), np.empty(0))
        self.set_light(light)
        self.set_camera(camera)
        self.invalidate()

    def set_light(self, light: Vector) -> None:
        """Changes the direction towards the light, from above."""
        if light[2] <= 0.0:
            raise ValueError(f"The light comes from above, light[2] > 0, got {light}.")
        self.light = np.array(light) / light[2]
        self._views.clear()

    def set_camera(self, camera: Camera) -> None:
        """Changes where frames are taken from."""
        self.camera = camera
        self._origin, self._axes = np.array(camera.position), camera.axes
        self._zoom = 0.5 / np.tan(camera.field_of_view / 2.0)
        self._rays: dict[int, NDArray[np.float64]] = {}
        self._views.clear()

    def invalidate(self) -> None:
        """Forgets what was cast before and reads the model again."""
        model = self._model = copy.copy(self.model)
        self._views.clear()
        with_material = model.geom_matid >= 0
        self._colours = model.geom_rgba[:, :3].astype(np.float64)
        self._colours[with_material] = model.mat_rgba[model.geom_matid[with_material], :3]
        self._colours *= self.brightness
        self._backdrop = np.minimum(self.brightness * self.background, 1.0)
        moving = model.body_weldid[model.geom_bodyid] != 0
        is_plane = model.geom_type == int(mujoco.mjtGeom.mjGEOM_PLANE)
        self._patterned = is_plane if self._mount is None else ~moving
        shown = (model.geom_group < 3) & (model.geom_rgba[:, 3] > 0.0)
        model.geom_group[:] = np.where(shown, np.where(moving, _MOVING, _STILL), _HIDDEN)
        # MuJoCo sorts out rays by each body's collision volume, and so misses geoms that are only drawn.
        only_drawn = shown & (model.geom_contype == 0) & (model.geom_conaffinity == 0)
        model.body_bvhadr[model.geom_bodyid[only_drawn]] = -1
        self._moving = np.flatnonzero(moving & shown)
        self._boxes = (
            model.geom_aabb[self._moving, None, :3]
            + model.geom_aabb[self._moving, None, 3:] * _CORNERS
        )

    def frame(self, data: mujoco.MjData, size: int) -> NDArray[np.uint8]:
        """Returns a frame, uint8 [size, size, 3]. The poses in ``data`` have to be up to date (``mj_kinematics``)."""
        if self._mount is not None:
            return self._look_around(data, size, self._mount)
        if size not in self._views:
            self._views[size] = self._look_at_static(data, size)
        view = self._views[size]
        frame = view.frame.copy()
        pixels = self._pixels_of_moving(data, size)
        if len(pixels):
            geoms, depth, normals = self._cast(data, self._rays[size][pixels], _MOVING)
            colours = view.colours[pixels].reshape(-1, 3)
            hit = np.flatnonzero((geoms >= 0) & (depth < view.depth[pixels].ravel()))
            colours[hit] = self._shade(self._colours[geoms[hit]], normals[hit])
            frame[pixels] = _to_bytes(colours, self._samples)
        return frame.reshape(size, size, 3)

    def _look_at_static(self, data: mujoco.MjData, size: int) -> _StaticView:
        if size not in self._rays:
            self._rays[size] = _rays(self.camera, size, self._samples)
        rays = self._rays[size]
        geoms, depth, normals = self._cast(data, rays, _STILL)
        hit = np.flatnonzero(geoms >= 0)
        depth = np.where(geoms < 0, np.inf, depth)
        base = self._colours[geoms[hit]]
        if self.checker is not None:
            on_plane = self._patterned[geoms[hit]]
            points = self._origin + depth[hit, None] * rays.reshape(-1, 3)[hit]
            base[on_plane & _is_dark(points[:, :2].T, self.checker)] *= _DARKER
        colours = np.tile(self._backdrop, (len(geoms), 1))
        colours[hit] = self._shade(base, normals[hit])
        samples = self._samples
        return _StaticView(
            colours.reshape(-1, samples, 3), depth.reshape(-1, samples), _to_bytes(colours, samples)
        )

    def _look_around(self, data: mujoco.MjData, size: int, mount: int) -> NDArray[np.uint8]:
        """Returns a frame as the mean of the four corners of each pixel, which neighbours share."""
        grid = _corner_grid(self.camera, size)
        rays = self._turned(grid.rays, data, mount)
        first = rays.take(grid.every_second, axis=1)
        geoms, depth, normals = self._cast(data, first.T, *_ALL)
        geoms, depth, normals = geoms.copy(), depth.copy(), normals.copy()
        between = grid.between_unlike(geoms, normals)
        second = rays.take(between, axis=1)
        more_geoms, more_depth, more_normals = self._cast(data, second.T, *_ALL)
        geoms, depth = np.append(geoms, more_geoms), np.append(depth, more_depth)
        normals = np.concatenate([normals, more_normals])
        # Each corner has the face of a ray that was cast: its own, or one next to it that agrees with all around it.
        face = grid.nearby.copy()
        face[between] = np.arange(len(grid.every_second), len(geoms))

        colours = self._shade(self._colours[geoms], normals)
        colours[geoms < 0] = self._backdrop
        corners = colours.T.take(face, axis=1)
        if self.checker is not None:
            normals = normals.T.copy()
            offset = depth * (np.hstack([first, second]) * normals).sum(axis=0)
            on = np.flatnonzero((self._patterned[geoms] & (geoms >= 0))[face])
            points = self._points(
                rays.take(on, axis=1), normals.take(face[on], axis=1), offset[face[on]]
            )
            corners[:, on] *= np.where(_is_dark(points, self.checker), _DARKER, 1.0)
        return _mean_of_corners(corners.reshape(3, grid.side, grid.side), size)

    def _points(
        self, rays: NDArray[np.float64], normals: NDArray[np.float64], offset: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Returns where rays [3, R] meet the planes of faces with these normals [3, R] and offsets [R], a little below them."""
        depth = offset / (rays * normals).sum(axis=0)
        return self._origin[:, None] + rays * depth - _SKIN * normals

    def _turned(
        self, rays: NDArray[np.float64], data: mujoco.MjData, mount: int
    ) -> NDArray[np.float64]:
        """Moves the camera to where the body carries it, and returns its rays [3, R] as the world has them."""
        turn = data.xmat[mount].reshape(3, 3)
        self._origin = data.xpos[mount] + (turn * self.camera.position).sum(axis=1)
        right, down, forward = (self._axes[:, None] * turn).sum(axis=2)[..., None]
        x, y, z = rays
        return x * right + y * down + z * forward

    def _cast(
        self, data: mujoco.MjData, rays: NDArray[np.float64], *shown: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Returns the geoms [R] (-1 for none), distances [R] and normals [R, 3] that rays [..., 3] hit, in a shared buffer."""
        num_rays = rays.size // 3
        if len(self._buffer[0]) < num_rays:
            self._buffer = (
                np.empty(num_rays, np.int32),
                np.empty(num_rays),
                np.empty(3 * num_rays),
            )
        geoms, depth, normals = self._buffer
        geoms, depth, normals = geoms[:num_rays], depth[:num_rays], normals[: 3 * num_rays]
        groups = np.zeros(6, np.uint8)
        groups[list(shown)] = 1
        mujoco.mj_multiRay(
            self._model,
            data,
            self._origin,
            rays.reshape(-1),
            groups,
            True,
            -1,
            geoms,
            depth,
            normals,
            num_rays,
            _FAR,
        )
        return geoms, depth, normals.reshape(-1, 3)

    def _pixels_of_moving(self, data: mujoco.MjData, size: int) -> NDArray[np.intp]:
        """Returns the pixels inside the screen boxes of the moving geoms."""
        if not len(self._moving):
            return self._moving
        turned = np.matmul(
            self._boxes, data.geom_xmat[self._moving].reshape(-1, 3, 3).transpose(0, 2, 1)
        )
        corners = (turned + (data.geom_xpos[self._moving] - self._origin)[:, None]) @ self._axes.T
        depth = corners[..., 2:]
        mask = np.zeros((size, size), np.bool_)
        if depth.min() <= 0.0:
            mask[:] = True
            return np.flatnonzero(mask)
        places = corners[..., :2] * (self._zoom * size / depth) + 0.5 * size
        boxes = np.concatenate([places.min(axis=1), places.max(axis=1) + 1.0], axis=1).clip(
            0.0, size
        )
        for left, top, right, bottom in boxes.astype(np.intp).tolist():
            mask[top:bottom, left:right] = True
        return np.flatnonzero(mask)

    def _shade(
        self, colours: NDArray[np.float64], normals: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        # Written out: a BLAS product may round differently from one processor to the next.
        x, y, z = self.light
        light = np.maximum(normals[:, 0] * x + normals[:, 1] * y + normals[:, 2] * z, 0.0)
        return np.minimum(colours * (self.ambient + (1.0 - self.ambient) * light)[:, None], 1.0)


@functools.lru_cache(maxsize=8)
def _rays(camera: Camera, size: int, samples: int) -> NDArray[np.float64]:
    """Returns ``camera.rays``, one array for all worlds that look the same way. It must not be changed."""
    rays = camera.rays(size, samples)
    rays.flags.writeable = False
    return rays


@functools.lru_cache(maxsize=8)
def _corner_grid(camera: Camera, size: int) -> _CornerGrid:
    side = size + 1 + size % 2
    steps = (np.arange(side) * (2.0 / size) - 1.0) * np.tan(camera.field_of_view / 2.0)
    x, y = np.meshgrid(steps, steps)
    rays = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    corners, half = np.arange(side * side).reshape(side, side), side // 2 + 1
    nearby = (
        np.arange(half * half).reshape(half, half).repeat(2, axis=0).repeat(2, axis=1)[:-1, :-1]
    )
    return _CornerGrid(
        side, rays / np.sqrt((rays * rays).sum(axis=0)), corners[::2, ::2].ravel(), nearby.ravel()
    )


def _to_bytes(colours: NDArray[np.float64], samples: int) -> NDArray[np.uint8]:
    """Returns the mean of each pixel's samples, [P * samples, 3] in 0 to 1, as bytes [P, 3]."""
    return (colours.reshape(-1, samples, 3).sum(axis=1) * (255.0 / samples) + 0.5).astype(np.uint8)


def _is_dark(points: NDArray[np.float64], side: float) -> NDArray[np.bool_]:
    """Returns whether points [K, R] are in a dark square of the pattern, in which dark and bright ones alternate, [R]."""
    return (np.floor(points / side).sum(axis=0).astype(np.int64) & 1).astype(np.bool_)


def _mean_of_corners(corners: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Returns the frame [size, size, 3] whose pixels have these colours, 0 to 1, at their corners [3, N, N]."""
    rows = corners[:, :size] + corners[:, 1 : size + 1]
    frame = (rows[:, :, :size] + rows[:, :, 1 : size + 1]) * (255.0 / 4) + 0.5
    return frame.transpose(1, 2, 0).astype(np.uint8, order="C")
