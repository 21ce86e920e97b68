"""AntMaze: Gymnasium's four-legged ant with the physics of Gymnasium-Robotics' AntMaze."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.errors import unknown_name
from jepabench.envs.maze.ant import (
    DRAWN_LEGS,
    DRAWN_TORSO,
    JOINTS,
    STANDING_ANKLES,
    STANDING_HEIGHT,
    load_ant,
    trot,
)
from jepabench.envs.maze.arena import WALL_COLOUR, add_box, moving_body
from jepabench.envs.maze.layouts import LAYOUTS
from jepabench.envs.maze.maze_env import MazeEnv
from jepabench.envs.mujoco_world.camera import Camera
from jepabench.envs.mujoco_world.rendering import RayCamera
from jepabench.envs.mujoco_world.scenery import (
    Thing,
    add_distractors,
    add_double,
    distractors,
    view,
)
from jepabench.envs.mujoco_world.simulation import Simulation
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.factors import Factor
from jepabench.envs.variations.moving_objects import MovingObject

SUCCESS_DISTANCE = 0.45
CELL = 4.0  # [m]
_SUBSTEPS = 5
_WALL_HEIGHT = 2.0
_CLEARANCE = 1.25  # of the torso: legs reach out 1.1 m
_VIEW_MARGIN = 0.4
_FLOOR_COLOUR = (0.93, 0.92, 0.88, 1.0)
_DISTRACTOR_RADIUS, _DISTRACTOR_HEIGHT = 0.4, 0.03
_DOUBLE_HEIGHT = 0.6
_PACE = 0.7  # of the longest steps; with those one ant in a hundred turns over
_SLOW_DOWN = 1.0  # steps get shorter within this distance of the end of the path [m]
_ARRIVED = 0.1
_REFERENCE_STEPS, _STEPS_PER_METRE = 40, 25  # that the expert needs, rounded up


class AntMaze(MazeEnv):
    """A four-legged ant walks through a maze to a goal.

    ## Description

    The ant is Gymnasium's (``ant.xml``). Maze and success rule are those of Gymnasium-Robotics'
    AntMaze (v5), and the same actions give the same positions and velocities. Starts, goals,
    budgets and frames are defined by JEPA Bench. Falling over does not end the episode, but an ant
    on its back cannot walk.

    ## Action space

    | index | action | low | high | actuator on joint | unit |
    |---|---|---|---|---|---|
    | 0, 1 | torques of the right back leg | -1 | 1 | ``hip_4``, ``ankle_4`` | 150 N m |
    | 2, 3 | torques of the front left leg | -1 | 1 | ``hip_1``, ``ankle_1`` | 150 N m |
    | 4, 5 | torques of the front right leg | -1 | 1 | ``hip_2``, ``ankle_2`` | 150 N m |
    | 6, 7 | torques of the back left leg | -1 | 1 | ``hip_3``, ``ankle_3`` | 150 N m |

    A control step takes 0.05 s.

    ## Observation space

    | index | ``observation`` | joint | unit |
    |---|---|---|---|
    | 0, 1, 2 | position of the torso | ``root`` | m |
    | 3 to 6 | orientation of the torso, a quaternion w, x, y, z | ``root`` | |
    | 7 to 14 | angles, leg by leg | ``hip_1``, ``ankle_1``, ... ``ankle_4`` | rad |
    | 15 to 20 | linear and angular velocity of the torso | ``root`` | m/s, rad/s |
    | 21 to 28 | velocities of the angles | ``hip_1``, ``ankle_1``, ... ``ankle_4`` | rad/s |

    The observation follows D4RL; it lacks the contact forces that Gymnasium's ant adds.
    ``achieved_goal`` and ``desired_goal`` are positions ``[x, y]`` of the torso [m]. Frames show
    the maze from above with +y up. The legs are drawn thicker than they are, and the front left leg
    is blue, so that a frame shows which leg an action moves.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the straight-line distance to the goal [m].

    ## Starting state

    The ant stands still at a uniformly random position with 1.25 m of clearance and a random
    heading. The goal is drawn in the same way; the shortest path to it has the length of the
    stratum (2.4 to 6 m, 6 to 12 m or 12 to 28 m).

    ## Success

    The torso is within 0.45 m of the goal, at any speed.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    In addition to the arguments of ``GoalEnv``:

    * ``layout``: ``umaze``, ``medium`` or ``large``.

    ``info["violation"]`` is True while the ant is upside down.

    ## Versions

    * v1: first version. MuJoCo 3.17.0, the ant of Gymnasium 1.4.0.
    """

    success_distance = SUCCESS_DISTANCE

    def __init__(self, task: TaskSpec, *, layout: str, **kwargs: Any) -> None:
        if layout not in LAYOUTS:
            raise unknown_name("layout", layout, LAYOUTS)
        super().__init__(
            task,
            action_space=spaces.Box(-1.0, 1.0, (8,), np.float32),
            observation_size=29,
            goal_size=2,
            **kwargs,
        )
        maze = LAYOUTS[layout]
        inner = CELL * (maze.half_size - 1.0)
        self._strata = {
            name: (CELL * low, CELL * high) for name, (low, high) in maze.strata.items()
        }
        self.free_space = FreeSpace(
            bounds=np.concatenate([-inner, inner]),
            boxes=CELL * maze.obstacle_boxes(),
            clearance=_CLEARANCE,
        )
        self.arena = AntArena(
            CELL * maze.wall_boxes(), extent=2.0 * (float(inner.max()) + _VIEW_MARGIN)
        )
        self.simulation = self.arena.simulation

    def steer(self, path: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the action [8] that walks on along ``path`` [K, 2] and stops at its end."""
        data = self.simulation.data
        x, y = (path[0] - self.arena.position).tolist()
        distance = math.hypot(x, y)
        pace = _PACE if len(path) > 1 else min(_PACE, distance / _SLOW_DOWN) * (distance > _ARRIVED)
        return trot(
            data.qpos[7:],
            data.qvel[6:],
            heading=math.atan2(y, x) - self.arena.yaw,
            time=data.time,
            pace=pace,
        )

    def _factors(self) -> tuple[Factor, ...]:
        return self.arena.factors(self.free_space.bounds)

    def _moving_objects(self) -> tuple[MovingObject, ...]:
        return (moving_body(self, "ant", JOINTS),)

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        del split  # the maze is the same in all of them
        shortest, longest = self._strata[stratum]
        start, goal, length = self.free_space.sample_pair(rng, shortest=shortest, longest=longest)
        yaws = rng.uniform(-np.pi, np.pi, 2).tolist()
        reference_steps = _REFERENCE_STEPS + math.ceil(_STEPS_PER_METRE * length)
        return EpisodeDraw(
            self.arena.state_at(start, yaws[0]), self.arena.state_at(goal, yaws[1]), reference_steps
        )

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        self.simulation.data.ctrl[:] = action
        self.simulation.step(_SUBSTEPS)

    def _observation_names(self) -> tuple[str, ...]:
        return (
            *("torso x", "torso y", "torso z"),
            *(f"torso quaternion {name}" for name in "wxyz"),
            *(
                joints := tuple(
                    f"{joint} {leg}" for leg in range(1, 5) for joint in ("hip", "ankle")
                )
            ),
            *(f"torso velocity {name}" for name in "xyz"),
            *(f"torso angular velocity {name}" for name in "xyz"),
            *(f"{joint} velocity" for joint in joints),
        )

    def _observation(self) -> NDArray[np.float64]:
        return np.concatenate([self.simulation.data.qpos, self.simulation.data.qvel])

    def _achieved_goal(self) -> NDArray[np.float64]:
        return self.arena.position

    def _violated(self) -> bool:
        return self.arena.is_upside_down

    def _frame(self, size: int) -> NDArray[np.uint8]:
        return self.arena.camera.frame(self.simulation.data, size)


class AntArena:
    """A simulated ant between walls, and the camera above it.

    Args:
        walls: Boxes ``[x_min, y_min, x_max, y_max]`` [N, 4] [m].
        extent: Side of the square that the camera sees [m].
    """

    def __init__(self, walls: NDArray[np.float64], *, extent: float) -> None:
        spec = load_ant()
        spec.geom("floor").rgba = _FLOOR_COLOUR
        for box in walls:
            add_box(spec.worldbody, box, (0.0, _WALL_HEIGHT), WALL_COLOUR)
        add_distractors(spec, radius=_DISTRACTOR_RADIUS, heights=(0.0, _DISTRACTOR_HEIGHT))
        double = add_double(spec, DRAWN_TORSO)
        spec.body(double).pos = (0.0, 0.0, _DOUBLE_HEIGHT)
        self.extent = extent
        self.simulation = Simulation(spec.compile())
        camera = Camera.overhead(extent=extent)
        self.camera = RayCamera(
            self.simulation.model, camera, background=WALL_COLOUR[:3], checker=CELL / 2.0
        )
        self._double = double

    @property
    def position(self) -> NDArray[np.float64]:
        """Where the torso is, [2] [m]."""
        return self.simulation.data.qpos[:2].copy()

    @property
    def yaw(self) -> float:
        """Direction of the torso's x axis, counter-clockwise from x [rad]."""
        w, x, y, z = self.simulation.data.qpos[3:7].tolist()
        return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))

    @property
    def is_upside_down(self) -> bool:
        """Whether the torso's upper side is below its lower one."""
        _, x, y, _ = self.simulation.data.qpos[3:7].tolist()
        return x * x + y * y > 0.5

    def factors(self, bounds: NDArray[np.float64]) -> tuple[Factor, ...]:
        """Return the factors of variation.

        ``bounds`` [x_min, y_min, x_max, y_max] [m] limits the free positions.
        """
        model = self.simulation.model
        walls = np.flatnonzero(
            (model.geom_rgba == np.array(WALL_COLOUR, np.float32)).all(axis=1)
        ).tolist()
        moved = np.flatnonzero(model.body_weldid[model.geom_bodyid] != 0)
        legs = [int(geom) for geom in moved if model.geom(geom).name.startswith(DRAWN_LEGS)]
        torso = Thing(self, "ant", geoms=(DRAWN_TORSO,), double=self._double)
        return (
            Thing(self, "ant", geoms=(DRAWN_TORSO, *legs), double=self._double).colour(
                hard=(0.0, 0.75)
            ),
            torso.shape(),
            Thing(self, "ant", geoms=moved.tolist()).hidden(),
            torso.double(),
            Thing(self, "ant", geoms=("floor", *walls, *moved.tolist())).friction(),
            torso.mass(),
            Thing(self, "floor", geoms=("floor",)).colour(hard=(0.8, 1.0)),
            Thing(self, "wall", geoms=walls).colour(hard=(0.0, 0.6), background=True),
            distractors(self, area=bounds),
            *view(self),
        )

    def state_at(self, position: NDArray[np.float64], yaw: float) -> NDArray[np.float64]:
        """Return the state with the ant standing at ``position`` [2] with ``yaw`` [rad].

        The simulation keeps this state.
        """
        root = np.array(
            [*position, STANDING_HEIGHT, math.cos(yaw / 2.0), 0.0, 0.0, math.sin(yaw / 2.0)]
        )
        return self.simulation.rest_state({"root": root, **STANDING_ANKLES})
