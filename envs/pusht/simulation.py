"""Published Push-T in pymunk: a round pusher with a PD controller, a block, and walls.

Chipmunk keeps more than poses between two steps: contact impulses, and the pairs that its search
tree found before, in order. When the pusher squeezes the block into a corner, this order changes
the result by pixels, and pymunk can neither read nor set it. A state is therefore the last
placement and all targets since then. Restoring a state replays them, which takes about 40
microseconds per control step. The same calls give the same bytes.
"""

# pyright: reportAttributeAccessIssue=false
# (Chipmunk's functions are a binary module without type stubs.)

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pymunk
from numpy.typing import NDArray

# Body.velocity and Space.step do the same, but take longer than the physics between them.
from pymunk._chipmunk_cffi import lib

from jepabench.envs.pusht.shapes import Shape, T

SIZE = 512.0  # side of the workspace [px]
WALLS = (5.0, 506.0)  # coordinates of the walls' middle lines [px]
WALL_RADIUS = 2.0
PUSHER_RADIUS = 15.0
PLACEMENT_SIZE = 7
REACH = 100.0  # how far from the pusher a relative target may be along each axis [px]
_DT, _SUBSTEPS = 0.01, 10
_K_P, _K_V = 100.0, 20.0
_WAITING = (256.0, 400.0, 0.0, 0.0, 256.0, 300.0, 0.0)  # where gym-pusht makes pusher and block

Velocities = Sequence[Sequence[float]]


class PushSimulation:
    """A pusher and a block between four walls. y points down the frame; angles turn from x to y.

    A placement is ``[pusher x, y [px], pusher velocity x, y [px/s], block x, y [px], block angle
    [rad]]``.

    Args:
        shape: Shape of the block.
        friction: Coefficient between block and pusher, and block and walls. The published one is 0.
    """

    def __init__(self, shape: Shape = T, *, friction: float = 0.0) -> None:
        self.shape, self.friction = shape, friction
        self._space = space = pymunk.Space()
        space.damping = 0.0
        low, high = WALLS
        ends = (
            ((low, high), (low, low)),
            ((low, low), (high, low)),
            ((high, low), (high, high)),
            ((low, high), (high, high)),
        )
        walls = [pymunk.Segment(space.static_body, start, end, WALL_RADIUS) for start, end in ends]
        self._pusher = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        self._block = pymunk.Body(1.0, shape.moment)
        self._block.center_of_gravity = shape.centre
        self._num_walls = len(walls)
        self._moving = [
            pymunk.Circle(self._pusher, PUSHER_RADIUS),
            *(pymunk.Poly(self._block, box) for box in shape.corners.tolist()),
        ]
        for piece, own in zip(
            [*walls, *self._moving], [1.0] * 5 + [friction] * len(shape.boxes), strict=True
        ):
            piece.friction = own
        space.add(*walls, self._pusher, self._block, *self._moving)
        self.place(_WAITING)

    @property
    def pusher(self) -> tuple[float, float]:
        """Where the pusher's centre is [px]."""
        return self._position

    @property
    def pusher_velocity(self) -> tuple[float, float]:
        """The pusher's velocity [px/s]."""
        return self._velocity

    @property
    def block(self) -> tuple[float, float, float]:
        """The block's position [px] and angle [rad], which is not wrapped."""
        x, y = self._block.position
        return x, y, self._block.angle

    @property
    def centre_of_gravity(self) -> tuple[float, float]:
        """Where the block's centre of gravity is [px]."""
        x, y = self._block.local_to_world(self.shape.centre)
        return x, y

    @property
    def placement(self) -> NDArray[np.float64]:
        """Where everything is now, without what Chipmunk remembers of contacts, [7]."""
        return np.array([*self._position, *self._velocity, *self.block])

    def place(self, placement: Iterable[float]) -> None:
        """Place everything as ``placement`` [7] says, like gym-pusht's reset."""
        values = tuple(map(float, placement))
        space = self._space
        space.remove(*self._moving)
        space.step(
            _DT
        )  # uses up the block's last correction of an overlap, which would move it later
        self._put(_WAITING)
        lib.cpSpaceSetShapeIDCounter(space._space, self._num_walls)
        space.add(*self._moving)
        self._put(values)
        space.step(_DT)
        x, y, velocity_x, velocity_y = values[:4]
        self._position, self._velocity = (x, y), (velocity_x, velocity_y)
        self._placed = values
        self._targets: list[float] = []
        self._driven: list[Sequence[float]] = []

    def step(self, x: float, y: float) -> None:
        """Take one control step towards the target [px]."""
        (pusher_x, pusher_y), (velocity_x, velocity_y) = self._position, self._velocity
        pusher_x, velocity_x, along_x = drive(pusher_x, velocity_x, x)
        pusher_y, velocity_y, along_y = drive(pusher_y, velocity_y, y)
        velocities = list(zip(along_x, along_y, strict=True))
        self._run(velocities)
        self._position, self._velocity = (pusher_x, pusher_y), (velocity_x, velocity_y)
        self._targets += (x, y)
        self._driven += velocities

    def get_state(self) -> NDArray[np.float64]:
        """Return the last placement and the targets since, [7 + 2 * steps]."""
        return np.array([*self._placed, *self._targets])

    def set_state(self, state: NDArray[np.float64]) -> None:
        """Restore a state from ``get_state`` of any simulation of this block, bit by bit.

        Raises:
            ValueError: No state has this shape.
        """
        if state.ndim != 1 or len(state) < PLACEMENT_SIZE or len(state) % 2 == 0:
            raise ValueError(
                f"A state must have shape [{PLACEMENT_SIZE} + 2 * steps], got {list(state.shape)}."
            )
        known = PLACEMENT_SIZE + len(self._targets)
        if not np.array_equal(state[:known], self.get_state()):
            known = PLACEMENT_SIZE
            self.place(state[:known])
        for x, y in state[known:].reshape(-1, 2).tolist():
            self.step(x, y)

    def outcomes(self, plans: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the block [S, H, 3] after each of H model steps of candidate plans.

        The simulation is unchanged.

        Args:
            plans: Velocities of the pusher at every physics step [S, H, steps, 2] [px/s], as
                ``drive`` gives them.
        """
        placed, targets, driven, now = (
            self._placed,
            self._targets,
            self._driven,
            (self._position, self._velocity),
        )
        result = np.empty((*plans.shape[:2], 3))
        for candidate, plan in enumerate(plans.tolist()):
            self.place(placed)
            self._run(driven)
            for step, velocities in enumerate(plan):
                self._run(velocities)
                result[candidate, step] = self.block
        self.place(placed)
        self._run(driven)
        self._targets, self._driven, (self._position, self._velocity) = targets, driven, now
        return result

    def _put(self, placement: tuple[float, ...]) -> None:
        self._pusher.position, self._pusher.velocity = placement[:2], (0.0, 0.0)
        # Turning it moves its origin about its centre of gravity, so that the position has to come
        # last.
        self._block.angle = placement[6]
        self._block.position = placement[4:6]
        self._block.velocity, self._block.angular_velocity = (0.0, 0.0), 0.0

    def _run(self, velocities: Velocities) -> None:
        space, pusher = self._space._space, self._pusher._body
        set_velocity, step = lib.cpBodySetVelocity, lib.cpSpaceStep
        for velocity in velocities:
            set_velocity(pusher, velocity)
            step(space, _DT)


def drive(position: Any, velocity: Any, target: Any) -> tuple[Any, Any, list[Any]]:
    """Return position and velocity after a control step along one axis, and all physics velocities.

    All are floats or all arrays of one shape. Nothing that the pusher meets can change its way.
    """
    velocities = []
    for _ in range(_SUBSTEPS):
        velocity = velocity + (_K_P * (target - position) + _K_V * (0.0 - velocity)) * _DT
        position = position + velocity * _DT
        velocities.append(velocity)
    return position, velocity, velocities
