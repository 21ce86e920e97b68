"""The table of the manipulation tasks: an arm, the objects on it, and the camera."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.manipulation.arm import Arm
from jepabench.envs.mujoco_world.camera import Camera
from jepabench.envs.mujoco_world.rendering import RayCamera
from jepabench.envs.mujoco_world.scenery import (
    Thing,
    add_distractors,
    add_double,
    distractors,
    view,
)
from jepabench.envs.mujoco_world.simulation import JointMotion, Simulation
from jepabench.envs.variations.factors import Factor
from jepabench.envs.variations.moving_objects import MovingObject

TABLE = (
    0.36,
    -0.22,
    0.60,
    0.22,
)  # where the middle of what lies on the table may be: x_min, y_min, x_max, y_max [m]
MOVABLE, FIXED = ("block", "cube"), ("wall", "platform")
Sample = Callable[[np.random.Generator], NDArray[np.float64]]
Places = Callable[[NDArray[np.float64]], NDArray[np.bool_]]
_FINGERS = ("left_finger", "right_finger")
_CAMERA = Camera(position=(1.4, 0.0, 1.3), target=(0.45, 0.0, 0.125), field_of_view=0.48)
_LIGHT = (0.5, 0.35, 1.0)
_DISTRACTOR_RADIUS, _DISTRACTOR_HEIGHT = 0.025, 0.004  # [m]


class Tabletop:
    """The simulated table.

    Args:
        movable: The box that lies on it (``block`` or ``cube`` of ``table.xml``), or None.
        fixed: What stands on it (``wall``, ``platform``); all else is taken away.
        grips: Whether the gripper opens and closes.
    """

    def __init__(
        self, *, movable: str | None = None, fixed: Sequence[str] = (), grips: bool = False
    ) -> None:
        spec = mujoco.MjSpec.from_file(str(Path(__file__).with_name("table.xml")))
        for name in (*MOVABLE, *FIXED):
            if name not in (movable, *fixed):
                spec.delete(spec.body(name))
        add_distractors(spec, radius=_DISTRACTOR_RADIUS, heights=(0.0, _DISTRACTOR_HEIGHT))
        self._fixed, self._movable = tuple(fixed), movable
        self._double = add_double(spec, movable) if movable else None
        self.simulation = Simulation(spec.compile())
        self.arm = Arm(self.simulation, grips=grips)
        self.camera = RayCamera(self.simulation.model, _CAMERA, light=_LIGHT, samples=2)

    def factors(self) -> tuple[Factor, ...]:
        """Return the factors of variation of these tasks."""
        return (
            *(self._box_factors(self._movable) if self._movable else ()),
            *(Thing(self, name, geoms=(name,)).colour() for name in self._fixed),
            Thing(self, "table", geoms=("table",)).colour(hard=(0.6, 1.0)),
            Thing(self, "fingers", geoms=_FINGERS).colour(),
            distractors(self, area=TABLE),
            *view(self),
        )

    def _box_factors(self, name: str) -> tuple[Factor, ...]:
        box = Thing(self, name, geoms=(name,), double=self._double)
        surfaces = Thing(self, name, geoms=(name, "table", *_FINGERS))
        return (
            box.colour(),
            box.size(mild=(0.95, 1.05), hard=(0.8, 1.2)),
            box.mass(),
            surfaces.friction(),
            box.shape(),
            box.hidden(),
            box.double(),
        )

    def frame(self, size: int) -> NDArray[np.uint8]:
        """Return the present frame, uint8 [size, size, 3]."""
        return self.camera.frame(self.simulation.data, size)

    def rectangle(self, name: str) -> NDArray[np.float64]:
        """Return where a fixed thing stands, ``[x_min, y_min, x_max, y_max]`` [m]."""
        centre, half = (
            self.simulation.model.body(name).pos[:2],
            self.simulation.model.geom(name).size[:2],
        )
        return np.concatenate([centre - half, centre + half])

    def height(self, name: str) -> float:
        """Return the height of a thing's top when it stands on the table [m]."""
        return 2.0 * float(self.simulation.model.geom(name).size[2])

    def is_touched(self, name: str, *, but: Sequence[str] = ()) -> bool:
        """Return whether a thing touches at present any that is not named in ``but``."""
        model, data = self.simulation.model, self.simulation.data
        # The list of contacts lags a physics step behind, and a state that was put back has none.
        mujoco.mj_collision(model, data)
        geom, ignored = model.geom(name).id, {model.geom(other).id for other in but}
        pairs = data.contact.geom[data.contact.dist < 0.0].tolist()
        return any(geom in pair and ignored.isdisjoint(pair) for pair in pairs)


class Box:
    """The movable box of a table.

    Args:
        table: Where it lies.
        name: ``block`` or ``cube``.
    """

    def __init__(self, table: Tabletop, name: str) -> None:
        model = table.simulation.model
        self.name, self._simulation, self._data = name, table.simulation, table.simulation.data
        self._body, self._geom, joint = model.body(name).id, model.geom(name).id, model.joint(name)
        self._position, self._velocity = int(joint.qposadr[0]), int(joint.dofadr[0])

    @property
    def half_size(self) -> NDArray[np.float64]:
        """Half of its length, width and height, [3] [m]."""
        return self._simulation.model.geom_size[self._geom].copy()

    @property
    def position(self) -> NDArray[np.float64]:
        """Of its centre, [3] [m]."""
        return self._data.qpos[self._position : self._position + 3].copy()

    @property
    def velocity(self) -> NDArray[np.float64]:
        """Linear [m/s] and angular in its own axes [rad/s], [6]."""
        return self._data.qvel[self._velocity : self._velocity + 6].copy()

    @property
    def yaw(self) -> float:
        """Yaw modulo quarter turns [rad, -pi/4 to pi/4], measured on the upright faces."""
        axes = self._data.xmat[self._body].reshape(3, 3)
        level = (int(np.abs(axes[2]).argmax()) + 1) % 3
        return (math.atan2(axes[1, level], axes[0, level]) + math.pi / 4) % (
            math.pi / 2
        ) - math.pi / 4

    @property
    def tilt(self) -> float:
        """Angle between the vertical and the nearest axis of the box [rad].

        It is 0 if the box lies on a face.
        """
        upright = float(np.abs(self._data.xmat[self._body].reshape(3, 3)[2]).max())
        return math.acos(min(upright, 1.0))

    def at(self, position: NDArray[np.float64], yaw: float) -> dict[str, NDArray[np.float64]]:
        """Return the joint positions by name that put it at ``position`` [3], lying on its base."""
        return {self.name: np.array([*position, math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)])}

    def as_moving_object(self, sample: Sample, **places: Places) -> MovingObject:
        """Return the box as a moving object for events.

        ``sample`` draws positions; ``is_free`` and ``in_wall`` classify positions.
        """
        motion = JointMotion(lambda: self._simulation, (self.name,))
        low, high = np.reshape(TABLE, (2, 2))
        return MovingObject(
            name=self.name,
            get_motion=motion.get,
            set_motion=motion.set,
            sample=sample,
            extent=float((high - low).max()),
            **places,
        )


def quarter_turns(yaw: float) -> NDArray[np.float64]:
    """Return cosine and sine of 4 x ``yaw`` [2], which are invariant under quarter turns."""
    return np.array([math.cos(4.0 * yaw), math.sin(4.0 * yaw)])
