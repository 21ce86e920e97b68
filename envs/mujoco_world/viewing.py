"""Factors of variation of a ``RayCamera``: the light, the pattern and the pose of the camera."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.mujoco_world.camera import Camera
from jepabench.envs.mujoco_world.rendering import RayCamera
from jepabench.envs.variations.factors import Factor, Range, Value


class Seen(Protocol):
    """What has a camera."""

    @property
    def camera(self) -> RayCamera: ...  # noqa: D102


def view(scene: Seen) -> tuple[Factor, ...]:
    """Return the factors of light and camera.

    They are ``light``, ``light_direction``, ``camera_shift``, ``camera_roll`` and ``camera_zoom``.

    And ``pattern``, if there is one on the floor.
    """
    camera = scene.camera
    return (
        *_light(camera),
        *(_pattern(camera, camera.checker) if camera.checker else ()),
        *_pose(camera),
    )


def _light(camera: RayCamera) -> tuple[Factor, ...]:
    own = camera.light[:2].copy()

    def shine(value: Value) -> None:
        camera.brightness = float(value[0])
        camera.invalidate()

    brightness = Factor(
        name="light",
        description="brightness of the whole frame, relative to the default",
        default=1.0,
        apply=shine,
        allowed=(0.1, 2.0),
        mild=(0.8, 1.15),
        hard=(0.4, 1.3),
        names={"dim": 0.45, "bright": 1.3},
    )
    direction = Factor(
        name="light_direction",
        description="horizontal offset x, y of the light from the vertical, per unit of height",
        default=own,
        apply=lambda value: camera.set_light((float(value[0]), float(value[1]), 1.0)),
        allowed=(-3.0, 3.0),
        mild=(own - 0.3, own + 0.3),
        hard=(-1.5, 1.5),
    )
    return brightness, direction


def _pattern(camera: RayCamera, side: float) -> tuple[Factor, ...]:
    def apply(value: Value) -> None:
        camera.checker = side * float(value[0])
        camera.invalidate()

    pattern = Factor(
        name="pattern",
        description="scale of the squares of the floor pattern",
        default=1.0,
        apply=apply,
        allowed=(0.1, 10.0),
        mild=(0.8, 1.25),
        hard=(0.4, 2.5),
    )
    return (pattern,)


def _pose(camera: RayCamera) -> tuple[Factor, ...]:
    own, now = camera.camera, {"shift": np.zeros(2), "roll": np.zeros(1), "zoom": np.ones(1)}

    def factor(
        what: str, description: str, unit: str, allowed: Range, mild: Range, hard: Range
    ) -> Factor:
        def apply(value: Value) -> None:
            now[what] = value
            camera.set_camera(
                _moved(own, now["shift"], float(now["roll"][0]), float(now["zoom"][0]))
            )

        return Factor(
            name=f"camera_{what}",
            description=description,
            unit=unit,
            default=now[what],
            apply=apply,
            allowed=allowed,
            mild=mild,
            hard=hard,
        )

    return (
        factor(
            "shift",
            "camera to the right and up, in widths of the frame",
            "",
            (-0.5, 0.5),
            (-0.02, 0.02),
            (-0.05, 0.05),
        ),
        factor(
            "roll",
            "turn of the camera about its view",
            "rad",
            (-np.pi, np.pi),
            (-0.05, 0.05),
            (-0.15, 0.15),
        ),
        factor(
            "zoom",
            "scale of the visible area",
            "",
            (0.25, 4.0),
            (0.92, 1.0),
            (0.75, 1.0),
        ),
    )


def _moved(camera: Camera, shift: Value, roll: float, zoom: float) -> Camera:
    if not shift.any() and roll == 0.0 and zoom == 1.0:
        return camera
    right, down, _ = camera.axes
    distance = float(np.linalg.norm(np.subtract(camera.target, camera.position)))
    width = 2.0 * distance * np.tan(camera.field_of_view / 2.0)
    aside = width * (shift[0] * right - shift[1] * down)
    up = np.cos(roll) * -down + np.sin(roll) * right
    return Camera(
        position=_vector(camera.position + aside),
        target=_vector(camera.target + aside),
        up=_vector(up),
        field_of_view=float(2.0 * np.arctan(np.tan(camera.field_of_view / 2.0) / zoom)),
    )


def _vector(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
