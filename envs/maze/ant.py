"""Gymnasium's ant: what is drawn of it, and a gait in any direction."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import math
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

JOINTS = ("root", "hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3", "hip_4", "ankle_4")
DRAWN_TORSO, DRAWN_LEGS, MARKED_LEG = "torso_drawn", "leg_drawn", "marked_leg_drawn"
STANDING_HEIGHT, STANDING_ANKLES = (
    0.38248,
    {"ankle_1": 0.52355, "ankle_2": -0.52355, "ankle_3": -0.52355, "ankle_4": 0.52355},
)
_XML = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "ant.xml"
_TORSO_COLOUR, _MARK_COLOUR = (0.86, 0.16, 0.14, 1.0), (0.10, 0.35, 0.85, 1.0)
_TORSO_RADIUS, _LEG_RADIUS = (
    0.42,
    0.17,
)  # as drawn: thinner legs would be lost between the pixels [m]

# Of the gait. The amplitudes, the stance and the gains were found by a cross-entropy search for the
# way made in 5 s in four directions (12 rounds of 24 candidates): 1.3 m/s.
_LEGS = np.deg2rad([45.0, 135.0, 225.0, 315.0])  # where they point to, in the order of the joints
_BENDS = np.array([1.0, -1.0, -1.0, 1.0])  # the sign of a bent ankle
_BEATS = np.array([0.0, math.pi, 0.0, math.pi])  # legs across from each other swing together
_FREQUENCY = 15.3  # [rad/s]
_SWING, _REACH, _LIFT, _STANCE = 0.256, 0.494, 0.596, 1.154  # of hips and ankles [rad]
_STIFFNESS, _DAMPING = 2.46, 0.218  # of the servos, in units of the action [1/rad, s/rad]
_MOTORS = np.array([6, 7, 0, 1, 2, 3, 4, 5])  # the actuators start with the fourth leg


def load_ant() -> mujoco.MjSpec:
    """Return Gymnasium's ``ant.xml`` with unchanged physics, thicker legs and one marked leg."""
    spec = mujoco.MjSpec.from_file(str(_XML))
    spec.geom("floor").material = ""
    for thing in (*spec.materials, *spec.textures):
        spec.delete(thing)
    for body in spec.bodies[1:]:
        for made in list(body.geoms):
            made.rgba, made.material = (0.0, 0.0, 0.0, 0.0), ""
            is_torso = made.name == "torso_geom"
            radius, colour = (_TORSO_RADIUS if is_torso else _LEG_RADIUS), _TORSO_COLOUR
            name = DRAWN_TORSO if is_torso else f"{DRAWN_LEGS}_{made.name}"
            if made.name in ("left_leg_geom", "left_ankle_geom"):
                name, colour = f"{MARKED_LEG}_{made.name}", _MARK_COLOUR
            drawn = body.add_geom(
                name=name, type=made.type, rgba=colour, mass=0.0, contype=0, conaffinity=0
            )
            if is_torso:
                drawn.size[0] = radius
            else:
                drawn.fromto, drawn.size[0] = made.fromto, radius
    return spec


def trot(
    joints: NDArray[np.float64],
    speeds: NDArray[np.float64],
    *,
    heading: float,
    time: float,
    pace: float,
) -> NDArray[np.float64]:
    """Return the torques [8] that make a step of a trot.

    Args:
        joints: Angles of hips and ankles, leg by leg [8] [rad].
        speeds: Their velocities [8] [rad/s].
        heading: Where to go, seen from the torso, counter-clockwise from its x axis [rad].
        time: Since the gait started [s].
        pace: Length of the steps, 0 (stand) to 1.
    """
    phases = _FREQUENCY * time + _BEATS
    forward = pace * np.cos(phases)  # where the feet should be, 1 in front
    wanted = np.empty(8)
    wanted[0::2] = _SWING * np.sin(heading - _LEGS) * forward
    lift = _LIFT * min(1.0, 4.0 * pace) * np.maximum(-np.sin(phases), 0.0)  # while they swing ahead
    wanted[1::2] = _BENDS * (_STANCE - lift - _REACH * np.cos(heading - _LEGS) * forward)
    return (_STIFFNESS * (wanted - joints) - _DAMPING * speeds)[_MOTORS].clip(-1.0, 1.0)
