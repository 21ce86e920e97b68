"""The arena of the mazes: a ball on a floor with keep-out zones, seen from above."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace, in_boxes
from jepabench.envs.maze.layouts import Zone
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

WALL_COLOUR = (0.24, 0.31, 0.42, 1.0)
_ZONE_COLOUR = (0.97, 0.84, 0.52, 1.0)
_ZONE_HEIGHT = 0.002
_DISTRACTOR_SIZE = (0.03, 0.01)  # radius and height, in extents


class Arena:
    """A ball with the joints ``ball_x`` and ``ball_y`` on a floor, and a camera above it.

    Args:
        spec: The world without its zones.
        zones: Keep-out rectangles ``(x_min, y_min, x_max, y_max)`` [m]; drawn on the floor, they
            stop nothing.
        extent: Side of the square that the camera sees [m].
        checker: Side of the squares of the floor's pattern [m].
    """

    def __init__(
        self, spec: mujoco.MjSpec, *, zones: Sequence[Zone], extent: float, checker: float
    ) -> None:
        self.zones = np.array(zones, np.float64).reshape(-1, 4)
        if not (self.zones[:, :2] < self.zones[:, 2:]).all():
            raise ValueError(
                f"A zone must be (x_min, y_min, x_max, y_max) with min < max, got {list(zones)}."
            )
        self._zone_bounds = self.zones.tolist()  # plain floats: they are asked at every step
        self.extent, height = extent, float(spec.geom("floor").pos[2])
        for zone in self.zones:
            add_box(
                spec.body("floor"),
                zone,
                (height, height + _ZONE_HEIGHT),
                _ZONE_COLOUR,
                collides=False,
            )
        radius, thickness = extent * np.array(_DISTRACTOR_SIZE)
        add_distractors(spec, radius=radius, heights=(height, height + thickness))
        double = add_double(spec, "ball_drawn")
        self.simulation = Simulation(spec.compile())
        camera = Camera.overhead(extent=extent)
        self.camera = RayCamera(
            self.simulation.model, camera, background=WALL_COLOUR[:3], checker=checker
        )
        self.ball = Thing(self, "ball", geoms=("ball", "ball_drawn"), double=double)

    def factors(self, bounds: NDArray[np.float64]) -> tuple[Factor, ...]:
        """Return the factors of variation that all mazes share.

        ``bounds`` [x_min, y_min, x_max, y_max] [m] limits the free positions.
        """
        colours = self.simulation.model.geom_rgba
        walls = np.flatnonzero((colours == np.array(WALL_COLOUR, np.float32)).all(axis=1)).tolist()
        return (
            self.ball.colour(hard=(0.0, 0.75)),
            self.ball.shape(),
            self.ball.hidden(),
            self.ball.double(),
            Thing(self, "floor", geoms=("floor",)).colour(hard=(0.8, 1.0)),
            Thing(self, "wall", geoms=walls).colour(hard=(0.0, 0.6), background=True),
            distractors(self, area=bounds),
            *view(self),
        )

    @property
    def position(self) -> NDArray[np.float64]:
        """Where the ball is, [2] [m]."""
        return self.simulation.data.qpos[:2].copy()

    @property
    def in_zone(self) -> bool:
        """Whether the ball's centre is inside a keep-out zone."""
        x, y = self.simulation.data.qpos[:2].tolist()
        return any(
            x_min < x < x_max and y_min < y < y_max
            for x_min, y_min, x_max, y_max in self._zone_bounds
        )

    def state_at(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the state with the ball at rest at ``position`` [2].

        The simulation keeps this state.
        """
        return self.simulation.rest_state({"ball_x": position[0], "ball_y": position[1]})

    def frame(self, size: int) -> NDArray[np.uint8]:
        """Return the present frame, uint8 [size, size, 3]."""
        return self.camera.frame(self.simulation.data, size)


class MazeArena(Protocol):
    """The simulation of a maze, and the side of what the camera sees [m]."""

    simulation: Simulation
    extent: float


class Maze(Protocol):
    """A world with a body in an arena, which it may replace by another."""

    @property
    def arena(self) -> MazeArena: ...  # noqa: D102

    free_space: FreeSpace


def moving_ball(maze: Maze) -> MovingObject:
    """Return the ball of a maze as a moving object for events."""
    return moving_body(maze, "ball", ("ball_x", "ball_y"))


def moving_body(maze: Maze, name: str, joints: Sequence[str]) -> MovingObject:
    """Return the body of a maze as a moving object for events.

    Args:
        maze: The world.
        name: Name of the body.
        joints: Names of its joints.
    """
    motion = JointMotion(lambda: maze.arena.simulation, joints)
    return MovingObject(
        name=name,
        get_motion=motion.get,
        set_motion=motion.set,
        sample=lambda rng: maze.free_space.sample(rng),
        extent=maze.arena.extent,
        is_free=lambda places: maze.free_space.contains(places),
        in_wall=lambda places: in_boxes(places, maze.free_space.walls),
    )


def load(name: str) -> mujoco.MjSpec:
    """Return the world description ``name`` of this folder."""
    return mujoco.MjSpec.from_file(str(Path(__file__).with_name(name)))


def add_box(
    body: mujoco.MjsBody,
    box: NDArray[np.float64],
    heights: tuple[float, float],
    colour: tuple[float, float, float, float],
    *,
    collides: bool = True,
) -> None:
    """Add a box over ``[x_min, y_min, x_max, y_max]`` between two heights [m] to ``body``."""
    low, high = np.append(box[:2], heights[0]), np.append(box[2:], heights[1])
    geom = body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, pos=(low + high) / 2, size=(high - low) / 2, rgba=colour
    )
    geom.contype = geom.conaffinity = int(collides)


def planar_distance(achieved_goal: NDArray[Any], desired_goal: NDArray[Any]) -> NDArray[np.float64]:
    """Return the straight distance between places [..., 2] [m]."""
    offset = np.asarray(achieved_goal) - desired_goal
    x, y = offset[..., 0], offset[..., 1]
    return np.sqrt(x * x + y * y)
