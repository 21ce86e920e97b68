"""Push: an arm pushes a block over a table to a place, in one variant around a wall."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace, in_boxes
from jepabench.envs.manipulation.arm import OBSERVATION_NAMES, STEP, WORKSPACE_HIGH, WORKSPACE_LOW
from jepabench.envs.manipulation.table_env import TableEnv
from jepabench.envs.manipulation.tabletop import TABLE, Box, Tabletop, quarter_turns
from jepabench.envs.maze.arena import planar_distance
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.moving_objects import MovingObject

SUCCESS_DISTANCE = 0.03
STRATA = {"near": (0.08, 0.16), "medium": (0.16, 0.26), "far": (0.26, 0.6)}
WALL_STRATA = {"near": (0.2, 0.36), "medium": (0.36, 0.48), "far": (0.48, 0.8)}
PUSH_HEIGHT = 0.025
PUSH_DISTANCE = 0.075  # from the block's middle to the gripper behind it: clear of its corners [m]
_CLEARANCE = (
    0.09  # that the block's middle keeps from the wall, so that the gripper fits between [m]
)
_START_HEIGHT = 0.12  # the gripper starts above the block [m]
_LEG_STEPS, _PUSH_STEP = (
    35,
    0.02,
)  # of a good push: steps to get behind the block, and how far it then moves a step [m]


class Push(TableEnv):
    """A 6-joint arm with a closed gripper pushes a block across a table to a goal.

    ## Description

    The arm is that of ``Reach``. The block is 0.07 m x 0.07 m wide, 0.05 m high and weighs 0.2 kg.

    ## Action space

    | index | action | low | high | unit |
    |---|---|---|---|---|
    | 0, 1, 2 | displacement of the gripper along x, y, z | -1 | 1 | 0.025 m |
    | 3 | change of its yaw | -1 | 1 | 0.15 rad |
    | 4 | none: the gripper stays closed | -1 | 1 | |

    A control step takes 0.05 s; see ``Reach``.

    ## Observation space

    | index | ``observation`` | name in the XML | unit |
    |---|---|---|---|
    | 0, 1 | position of the block's middle, x and y | body ``block`` | m |
    | 2 to 23 | the arm: ``observation`` of ``Reach`` | | |
    | 24 | height of the block's middle | body ``block`` | m |
    | 25, 26 | cosine and sine of 4 x the block's yaw | body ``block`` | |
    | 27 to 32 | its linear and angular velocity | joint ``block`` | m/s, rad/s |

    ``achieved_goal`` and ``desired_goal`` are positions ``[x, y]`` of the block [m].

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the straight-line distance to the goal [m].

    ## Starting state

    The block lies at a uniformly random position of the table (x 0.36 to 0.60 m, y -0.22 to 0.22 m)
    with a random yaw. The gripper is at a uniformly random position of the workspace above it. The
    goal is a uniformly random position at the distance of the stratum. In the goal image, the
    gripper is where a push would end. With the wall, start and goal are on opposite sides, and the
    distance is the length of the shortest path around the wall.

    ## Success

    The block's centre is within 0.03 m of the goal.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    In addition to the arguments of ``GoalEnv``:

    * ``wall``: whether a wall stands across the table. ``info["violation"]`` is True while the arm
      or the block touches it.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    def __init__(self, task: TaskSpec, *, wall: bool = False, **kwargs: Any) -> None:
        table = Tabletop(movable="block", fixed=("wall",) if wall else ())
        super().__init__(task, table=table, sizes=(33, 2), **kwargs)
        self.wall = wall
        self.block = Box(self.table, "block")
        outer = np.array(TABLE) + _CLEARANCE * np.array([-1.0, -1.0, 1.0, 1.0])
        boxes = self.table.rectangle("wall")[None] if wall else np.empty((0, 4))
        self.free_space: FreeSpace = FreeSpace(bounds=outer, boxes=boxes, clearance=_CLEARANCE)  # pyright: ignore[reportIncompatibleVariableOverride]

    def distance(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the straight-line distance from block to goal [m], [..., 2] to [...]."""
        return planar_distance(achieved_goal, desired_goal)

    def path_distance(self, achieved_goal: NDArray[Any]) -> NDArray[np.float64]:
        """Return the length of the shortest path around the wall [m], [..., 2] to [...]."""
        places = np.asarray(achieved_goal, np.float64)
        free = np.array(
            [self.free_space.nearest(place) for place in places.reshape(-1, 2)]
        ).reshape(places.shape)
        lengths = self.free_space.lengths(self._desired_goal, free.reshape(-1, 2)).reshape(
            places.shape[:-1]
        )
        return planar_distance(places, free) + lengths

    def is_success(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return whether the block is near enough to the goal, [..., 2] and [..., 2] to [...]."""
        return planar_distance(achieved_goal, desired_goal) <= SUCCESS_DISTANCE

    def _moving_objects(self) -> tuple[MovingObject, ...]:
        space = self.free_space
        if not self.wall:
            return (self.block.as_moving_object(space.sample),)
        return (
            self.block.as_moving_object(
                space.sample,
                is_free=space.contains,
                in_wall=lambda places: in_boxes(places, space.walls),
            ),
        )

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        del split  # the table is the same in all of them
        start, goal, length = self._draw_places(
            rng, *(WALL_STRATA if self.wall else STRATA)[stratum]
        )
        low, high = WORKSPACE_LOW[:3].copy(), WORKSPACE_HIGH[:3]
        low[2] = max(_START_HEIGHT, self.table.height("wall") + PUSH_HEIGHT if self.wall else 0.0)
        gripper, yaw = rng.uniform(low, high), float(rng.uniform(-np.pi / 4, np.pi / 4))
        way = self.free_space.path(start, goal)
        before = way[-2] if len(way) > 1 else start
        behind = goal - PUSH_DISTANCE * (goal - before) / np.linalg.norm(goal - before)
        approach = float(np.abs(gripper[:2] - start).max())
        reference_steps = _LEG_STEPS * len(way) + int(
            np.ceil(length / _PUSH_STEP + approach / STEP[0])
        )
        return EpisodeDraw(
            self._rest_state(gripper, start, yaw),
            self._rest_state(np.append(behind, PUSH_HEIGHT), goal, yaw),
            reference_steps,
        )

    def _draw_places(
        self, rng: np.random.Generator, shortest: float, longest: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        if not self.wall:
            return self.free_space.sample_pair(rng, shortest=shortest, longest=longest)
        while True:
            start, *goals = self.free_space.sample(rng)
            across = np.array(goals).reshape(-1, 2)
            across[:, 1] = -np.sign(start[1]) * np.abs(across[:, 1])
            lengths = self.free_space.lengths(start, across)
            fitting = (
                (lengths > shortest)
                & (lengths <= longest)
                & ~self.free_space.visible(start, across)
            )
            if fitting.any():
                return start, across[fitting][0], float(lengths[fitting][0])

    def _rest_state(
        self, gripper: NDArray[np.float64], block: NDArray[np.float64], yaw: float
    ) -> NDArray[np.float64]:
        position = np.append(block, self.block.half_size[2])
        return self.table.arm.rest_state(
            np.concatenate([gripper, np.zeros(2)]), self.block.at(position, yaw)
        )

    def _observation_names(self) -> tuple[str, ...]:
        return (
            *("block x", "block y", *OBSERVATION_NAMES),
            *("block z", "block yaw cos(4a)", "block yaw sin(4a)"),
            *(f"block velocity {name}" for name in "xyz"),
            *(f"block angular velocity {name}" for name in "xyz"),
        )

    def _observation(self) -> NDArray[np.float64]:
        position = self.block.position
        turns = quarter_turns(self.block.yaw)
        return np.concatenate(
            [position[:2], self.table.arm.state, position[2:], turns, self.block.velocity]
        )

    def _achieved_goal(self) -> NDArray[np.float64]:
        return self.block.position[:2]
