"""A ray-casting camera for the MuJoCo model of an adapted environment."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.errors import unknown_name
from jepabench.envs.mujoco_world.rendering import Camera, RayCamera


def make_ray_camera(
    env: gymnasium.Env[Any, Any],
    camera: Camera | str | None,
    colours: Mapping[str, Sequence[float]],
) -> RayCamera:
    """Return a ray-casting camera for the MuJoCo model of an environment.

    Args:
        env: Environment whose ``unwrapped.model`` and ``unwrapped.data`` are those of MuJoCo.
        camera: A ``Camera``, the name of a camera of the model, or None for its free camera.
        colours: Red, green, blue and opacity of geoms, by name.

    Raises:
        UnknownNameError: The model has no geom or camera of this name.
    """
    model = copy.copy(env.unwrapped.model)
    for name, colour in colours.items():
        names = [model.geom(index).name for index in range(model.ngeom)]
        if name not in names:
            raise unknown_name("geom", name, names)
        model.geom(name).matid, model.geom(name).rgba = -1, colour
    return RayCamera(model, _camera(model, env.unwrapped.data, camera))


def _camera(model: mujoco.MjModel, data: mujoco.MjData, wanted: Camera | str | None) -> Camera:
    if isinstance(wanted, Camera):
        return wanted
    if wanted is not None:
        names = [model.camera(index).name for index in range(model.ncam)]
        if wanted not in names:
            raise unknown_name("camera", wanted, names)
        index = model.camera(wanted).id
        position, turn = data.cam_xpos[index], data.cam_xmat[index].reshape(3, 3)
        return _looking(position, -turn[:, 2], up=turn[:, 1], degrees=float(model.cam_fovy[index]))
    free = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, free)
    azimuth, elevation = np.radians([free.azimuth, free.elevation])
    forward = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    up = (0.0, 0.0, 1.0)
    return _looking(
        free.lookat - free.distance * forward, forward, up=up, degrees=float(model.vis.global_.fovy)
    )


def _looking(position: NDArray[Any], forward: NDArray[Any], *, up: Any, degrees: float) -> Camera:
    place, target, top = (
        tuple(np.asarray(vector, np.float64).tolist())
        for vector in (position, position + forward, up)
    )
    return Camera(position=place, target=target, up=top, field_of_view=np.radians(degrees))
