"""A camera without a graphics driver: rays are cast into a MuJoCo model on the CPU.

Frames have the same bytes in every process. A fixed camera casts rays at static geoms once and
keeps colours and depth. For each frame, it casts rays only near moving geoms, against moving geoms
alone. A camera on a body casts every second ray, and the rays between those that hit different
faces.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import copy
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.mujoco_world.camera import SAMPLES, Camera, Vector, corner_grid, shared_rays

_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_STILL, _MOVING, _HIDDEN = 0, 1, 2  # geom groups of the camera's own copy of the model
_ALL = (_STILL, _MOVING)
_DARKER = 0.94  # of two squares of the pattern
_SKIN = (
    1e-6  # so far behind its face is a point, to be on one side of a square's edge in the face [m]
)
_FAR = float(mujoco.mjMAXVAL)


@dataclass(frozen=True, slots=True)
class _StaticView:
    """The static part of a frame: colours [P, samples, 3], depth [P, samples] and frame [P, 3]."""

    colours: NDArray[np.float64]
    depth: NDArray[np.float64]
    frame: NDArray[np.uint8]


class RayCamera:
    """Takes frames of a MuJoCo model.

    Shading is Lambert's law with one distant light; what faces straight up has just its own colour.
    Geoms show if their group is 0, 1 or 2 and they are not fully transparent; there are no
    textures, shadows and transparency. Call ``invalidate`` whenever the model, the background or
    the brightness was changed or something that stands still was moved.

    Attributes:
        light: Direction towards the light, of height 1.
        brightness: What all colours are multiplied by.

    Args:
        model: The model that the data of ``frame`` belongs to.
        camera: Where frames are taken from.
        background: Colour where no geom is hit, 0 to 1.
        light: Direction towards the light, from above.
        ambient: Share of the light that comes from everywhere, 0 to 1.
        checker: Side of the squares of the pattern on planes [m], or None for plain planes. A
            camera that a body carries sees it on everything that stands still, walls too: it shows
            how near they are.
        samples: Rays a pixel of a camera that stands still, 4 or 2. Two take half the time and make
            coarser edges.
        mount: Name of the body that carries the camera, or None for one that stands still.
            Position, target and up are then in the body's frame.
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
        if samples not in SAMPLES:
            raise ValueError(f"samples must be 4 or 2, got {samples}.")
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
        """Change the direction towards the light, from above."""
        if light[2] <= 0.0:
            raise ValueError(f"The light must come from above (light[2] > 0), got {light}.")
        self.light = np.array(light) / light[2]
        self._views.clear()

    def set_camera(self, camera: Camera) -> None:
        """Change where frames are taken from."""
        self.camera = camera
        self._origin, self._axes = np.array(camera.position), camera.axes
        self._zoom = 0.5 / np.tan(camera.field_of_view / 2.0)
        self._rays: dict[int, NDArray[np.float64]] = {}
        self._views.clear()

    def invalidate(self) -> None:
        """Forget what was cast before and reads the model again."""
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
        # MuJoCo sorts out rays by each body's collision volume, and so misses geoms that are only
        # drawn.
        only_drawn = shown & (model.geom_contype == 0) & (model.geom_conaffinity == 0)
        model.body_bvhadr[model.geom_bodyid[only_drawn]] = -1
        self._moving = np.flatnonzero(moving & shown)
        self._boxes = (
            model.geom_aabb[self._moving, None, :3]
            + model.geom_aabb[self._moving, None, 3:] * _CORNERS
        )

    def frame(self, data: mujoco.MjData, size: int) -> NDArray[np.uint8]:
        """Return a frame, uint8 [size, size, 3].

        The poses in ``data`` must be up to date (``mj_kinematics``).
        """
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
            self._rays[size] = shared_rays(self.camera, size, self._samples)
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
        """Return a frame as the mean of the four corners of each pixel, which neighbours share."""
        grid = corner_grid(self.camera, size)
        rays = self._rotate(grid.rays, data, mount)
        first = rays.take(grid.every_second, axis=1)
        geoms, depth, normals = self._cast(data, first.T, *_ALL)
        geoms, depth, normals = geoms.copy(), depth.copy(), normals.copy()
        between = grid.between_unlike(geoms, normals)
        second = rays.take(between, axis=1)
        more_geoms, more_depth, more_normals = self._cast(data, second.T, *_ALL)
        geoms, depth = np.append(geoms, more_geoms), np.append(depth, more_depth)
        normals = np.concatenate([normals, more_normals])
        # Each corner has the face of a ray that was cast: its own, or one next to it that agrees
        # with all around it.
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
        """Return where rays [3, R] hit faces with these normals [3, R] and offsets [R].

        The points lie slightly below the faces.
        """
        depth = offset / (rays * normals).sum(axis=0)
        return self._origin[:, None] + rays * depth - _SKIN * normals

    def _rotate(
        self, rays: NDArray[np.float64], data: mujoco.MjData, mount: int
    ) -> NDArray[np.float64]:
        """Move the camera with its body, and return its rays [3, R] in world coordinates."""
        turn = data.xmat[mount].reshape(3, 3)
        self._origin = data.xpos[mount] + (turn * self.camera.position).sum(axis=1)
        right, down, forward = (self._axes[:, None] * turn).sum(axis=2)[..., None]
        x, y, z = rays
        return x * right + y * down + z * forward

    def _cast(
        self, data: mujoco.MjData, rays: NDArray[np.float64], *shown: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Return the geoms [R], distances [R] and normals [R, 3] that rays [..., 3] hit.

        A geom of -1 means that nothing is hit. The arrays are a shared buffer.
        """
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
        """Return the pixels inside the screen boxes of the moving geoms."""
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


def _to_bytes(colours: NDArray[np.float64], samples: int) -> NDArray[np.uint8]:
    """Return the mean of each pixel's samples, [P * samples, 3] in 0 to 1, as bytes [P, 3]."""
    return (colours.reshape(-1, samples, 3).sum(axis=1) * (255.0 / samples) + 0.5).astype(np.uint8)


def _is_dark(points: NDArray[np.float64], side: float) -> NDArray[np.bool_]:
    """Return whether points [K, R] are in a dark square of the checker pattern, [R]."""
    return (np.floor(points / side).sum(axis=0).astype(np.int64) & 1).astype(np.bool_)


def _mean_of_corners(corners: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Return the frame [size, size, 3] from colours in 0 to 1 at the pixel corners [3, N, N]."""
    rows = corners[:, :size] + corners[:, 1 : size + 1]
    frame = (rows[:, :, :size] + rows[:, :, 1 : size + 1]) * (255.0 / 4) + 0.5
    return frame.transpose(1, 2, 0).astype(np.uint8, order="C")
