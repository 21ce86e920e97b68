"""PickPlace: an arm moves a cube to a goal pose on a table or on a platform."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.free_space import in_boxes
from jepabench.envs.manipulation.arm import (
    OBSERVATION_NAMES,
    STEP,
    WORKSPACE_HIGH,
    WORKSPACE_LOW,
)
from jepabench.envs.manipulation.table_env import TableEnv
from jepabench.envs.manipulation.tabletop import TABLE, Box, Tabletop, quarter_turns
from jepabench.envs.maze.arena import planar_distance
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.moving_objects import MovingObject

SUCCESS_DISTANCE, SUCCESS_ANGLE = 0.03, np.deg2rad(15.0)
STRATA = {"near": (0.08, 0.16), "medium": (0.16, 0.26), "far": (0.26, 0.6)}
OPEN = float(WORKSPACE_HIGH[4])
HOVER = 0.09  # of the gripper above the cube's middle, clear of the cube [m]
REST_SPEED, REST_TILT = 0.01, 0.05  # below which the cube lies still on a face [m/s, rad]
_PLATFORM_SHARE = 0.5  # of goals that are on the platform
_PLATFORM_CLEARANCE = (
    0.08  # that places on the table keep from it, so that the gripper fits between [m]
)
_HALF_DIAGONAL = 0.025 * float(np.sqrt(2.0))  # of the cube's faces [m]
_EDGE = 0.03  # that places on the platform keep from its edge [m]
_START_HEIGHT = 0.12
_GRASP_STEPS = 60  # that the expert takes beyond the ways
_BATCH = 64


class PickPlace(TableEnv):
    """A 6-joint arm with a parallel gripper moves a cube to a goal pose.

    ## Description

    The arm is that of ``Reach``. The gripper opens to 0.085 m, and its pads have a friction
    coefficient of 1.2. The cube has sides of 0.05 m and weighs 0.1 kg. A platform of 0.05 m height
    stands on the table. Half of the goals are on it and cannot be reached by pushing.

    ## Action space

    | index | action | low | high | unit |
    |---|---|---|---|---|
    | 0, 1, 2 | displacement of the gripper along x, y, z | -1 | 1 | 0.025 m |
    | 3 | change of its yaw | -1 | 1 | 0.15 rad |
    | 4 | change of the gap between its fingers | -1 | 1 | 0.0075 m |

    A control step takes 0.05 s; see ``Reach``. The commanded gap differs from the actual gap by at
    most 0.03 m, which limits the grip to 30 N.

    ## Observation space

    | index | ``observation`` | name in the XML | unit |
    |---|---|---|---|
    | 0, 1, 2 | position of the cube's middle | body ``cube`` | m |
    | 3, 4 | cosine and sine of 4 x the cube's yaw | body ``cube`` | |
    | 5 | 1 if the cube is settled, else 0 | | |
    | 6 to 27 | the arm: ``observation`` of ``Reach`` | | |
    | 28 to 33 | the cube's linear and angular velocity | joint ``cube`` | m/s, rad/s |

    A cube is settled if it lies still on a face and the arm does not touch it. ``achieved_goal``
    and ``desired_goal`` are entries 0 to 5; the goal is settled. The cube has no marks, so yaw
    counts modulo quarter turns.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the distance [m], which is the root mean square error of the
    positions of the cube's upright edges.

    ## Starting state

    The cube lies at a uniformly random position of the table (x 0.36 to 0.60 m, y -0.22 to 0.22 m,
    away from the platform) with a random yaw. The open gripper is at a uniformly random position of
    the workspace above it. The goal is on the table or on the platform with equal probability. Its
    position and yaw are uniformly random, and its horizontal distance is that of the stratum. In
    the goal image, the open gripper is above the cube.

    ## Success

    The cube's centre is within 0.03 m of the goal, its yaw is within 15 degrees of the goal's, and
    the cube is settled.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    The world takes the arguments of ``GoalEnv``.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    def __init__(self, task: TaskSpec, **kwargs: Any) -> None:
        table = Tabletop(movable="cube", fixed=("platform",), grips=True)
        super().__init__(task, table=table, sizes=(34, 6), **kwargs)
        self.cube = Box(self.table, "cube")

    def distance(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the root mean square error of the upright edges [m], [..., 6] to [...]."""
        turned = 2.0 * _HALF_DIAGONAL * np.sin(yaw_error(achieved_goal, desired_goal) / 2.0)
        return np.hypot(_position_error(achieved_goal, desired_goal), turned)

    def is_success(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return whether the cube is settled at the goal pose, [..., 6] and [..., 6] to [...]."""
        in_place = _position_error(achieved_goal, desired_goal) <= SUCCESS_DISTANCE
        turned = yaw_error(achieved_goal, desired_goal) <= SUCCESS_ANGLE
        return in_place & turned & (np.asarray(achieved_goal)[..., 5] > 0.5)

    def _moving_objects(self) -> tuple[MovingObject, ...]:
        return (self.cube.as_moving_object(self._places_on_table),)

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        del split  # the table is the same in all of them
        shortest, longest = STRATA[stratum]
        while True:
            starts, goals = self._places_on_table(rng), self._places_on_table(rng)
            height = self.cube.half_size[2]
            if rng.random() < _PLATFORM_SHARE:
                goals, height = (
                    self._places_on_platform(rng),
                    height + self.table.height("platform"),
                )
            length = planar_distance(goals, starts[0])
            fitting = (length > shortest) & (length <= longest)
            if fitting.any():
                break
        start, goal = (
            np.append(starts[0], self.cube.half_size[2]),
            np.append(goals[fitting][0], height),
        )
        yaw, goal_yaw = rng.uniform(-np.pi / 4, np.pi / 4, size=2).tolist()
        low = np.append(WORKSPACE_LOW[:2], _START_HEIGHT)
        gripper = rng.uniform(low, WORKSPACE_HIGH[:3])
        way = float(length[fitting][0] + np.abs(gripper - start).max())
        return EpisodeDraw(
            self._rest_state(gripper, 0.0, start, yaw),
            self._rest_state(goal + np.array([0.0, 0.0, HOVER]), goal_yaw, goal, goal_yaw),
            _GRASP_STEPS + int(np.ceil(way / STEP[0])),
        )

    def _places_on_table(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return some uniform places [>= 1, 2] on the table that are not near the platform."""
        places = rng.uniform(TABLE[:2], TABLE[2:], size=(_BATCH, 2))
        platform = self.table.rectangle("platform") + _PLATFORM_CLEARANCE * np.array(
            [-1.0, -1.0, 1.0, 1.0]
        )
        return places[~in_boxes(places, platform[None])]

    def _places_on_platform(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return uniform places [N, 2] on the platform."""
        platform = self.table.rectangle("platform")
        return rng.uniform(platform[:2] + _EDGE, platform[2:] - _EDGE, size=(_BATCH, 2))

    def _rest_state(
        self, gripper: NDArray[np.float64], yaw: float, cube: NDArray[np.float64], cube_yaw: float
    ) -> NDArray[np.float64]:
        return self.table.arm.rest_state(
            np.array([*gripper, yaw, OPEN]), self.cube.at(cube, cube_yaw)
        )

    def _is_settled(self) -> bool:
        velocity = self.cube.velocity
        speed = np.sqrt((velocity[:3] ** 2).sum()) + _HALF_DIAGONAL * np.sqrt(
            (velocity[3:] ** 2).sum()
        )
        if speed > REST_SPEED or self.cube.tilt > REST_TILT:
            return False
        return not self.table.is_touched("cube", but=("table", "platform"))

    def _observation_names(self) -> tuple[str, ...]:
        return (
            *("cube x", "cube y", "cube z"),
            *("cube yaw cos(4a)", "cube yaw sin(4a)", "cube settled"),
            *OBSERVATION_NAMES,
            *(f"cube velocity {name}" for name in "xyz"),
            *(f"cube angular velocity {name}" for name in "xyz"),
        )

    def _observation(self) -> NDArray[np.float64]:
        return np.concatenate([self._achieved_goal(), self.table.arm.state, self.cube.velocity])

    def _achieved_goal(self) -> NDArray[np.float64]:
        return np.array(
            [*self.cube.position, *quarter_turns(self.cube.yaw), float(self._is_settled())]
        )


def yaw_error(achieved_goal: NDArray[Any], desired_goal: NDArray[Any]) -> NDArray[np.float64]:
    """Return the yaw error modulo quarter turns [rad, 0 to pi/4], [..., 6] to [...]."""
    achieved, desired = np.asarray(achieved_goal, np.float64), np.asarray(desired_goal, np.float64)
    cosine, sine = achieved[..., 3], achieved[..., 4]
    wanted_cosine, wanted_sine = desired[..., 3], desired[..., 4]
    across = sine * wanted_cosine - cosine * wanted_sine
    return np.abs(np.arctan2(across, cosine * wanted_cosine + sine * wanted_sine)) / 4.0


def _position_error(achieved_goal: NDArray[Any], desired_goal: NDArray[Any]) -> NDArray[np.float64]:
    offset = np.asarray(achieved_goal, np.float64)[..., :3] - np.asarray(desired_goal)[..., :3]
    return np.sqrt((offset * offset).sum(axis=-1))
