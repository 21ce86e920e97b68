"""Reach: the gripper of an arm moves to a place, in one variant past a wall."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.manipulation.arm import OBSERVATION_NAMES, STEP, WORKSPACE_HIGH, WORKSPACE_LOW
from jepabench.envs.manipulation.table_env import TableEnv
from jepabench.envs.manipulation.tabletop import Tabletop
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.moving_objects import MovingObject

SUCCESS_DISTANCE = 0.03
STRATA = {"near": (0.08, 0.2), "medium": (0.2, 0.35), "far": (0.35, 0.8)}
WALL_STRATA = {"near": (0.15, 0.3), "medium": (0.3, 0.45), "far": (0.45, 0.8)}
_CLEARANCE = np.array(
    [0.055, 0.075, 0.035]
)  # that the gripper's point keeps from the wall, along each axis [m]
SETTLING_STEPS, _CORNER_STEPS = 10, 5
_BATCH = 64


class Reach(TableEnv):
    """A 6-joint arm moves its gripper to a position above a table.

    ## Description

    The arm has the kinematics, masses, joint ranges and torques of a UR5e. It is controlled as in
    OGBench's Cube tasks.

    ## Action space

    | index | action | low | high | unit |
    |---|---|---|---|---|
    | 0, 1, 2 | displacement of the gripper along x, y, z | -1 | 1 | 0.025 m |
    | 3 | change of its yaw | -1 | 1 | 0.15 rad |
    | 4 | none: the gripper stays closed | -1 | 1 | |

    A control step takes 0.05 s. Displacements accumulate in a commanded pose. It stays within the
    workspace (x 0.27 to 0.69 m, y -0.31 to 0.31 m, z 0.025 to 0.26 m, yaw up to a quarter turn) and
    within 0.05 m of the gripper along each axis.

    ## Observation space

    | index | ``observation`` | name in the XML | unit |
    |---|---|---|---|
    | 0, 1, 2 | position of the gripper | site ``gripper`` | m |
    | 3 | its yaw | site ``gripper`` | rad |
    | 4 | gap between its fingers | joints ``left_finger``, ``right_finger`` | m |
    | 5 to 10 | joint angles | joints ``shoulder_pan`` to ``wrist_3`` | rad |
    | 11 to 16 | joint velocities | the same | rad/s |
    | 17 to 21 | commanded pose minus pose (indices 0 to 4) | | m, rad, m |

    ``achieved_goal`` and ``desired_goal`` are positions ``[x, y, z]`` of the gripper [m]: the point
    between its fingertips, 0.015 m from their ends. The arm stands at the origin and reaches
    towards +x. The camera looks at it from the front and above.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the straight-line distance to the goal [m].

    ## Starting state

    The gripper starts at rest at a uniformly random position of the workspace with yaw 0. The goal
    is a uniformly random position at the distance of the stratum. With the wall, start and goal are
    on opposite sides, the straight line between them is blocked, and the distance is the length of
    the shortest path past the wall.

    ## Success

    The gripper is within 0.03 m of the goal.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    In addition to the arguments of ``GoalEnv``:

    * ``wall``: whether a wall stands across the table. ``info["violation"]`` is True while the arm
      touches it.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    def __init__(self, task: TaskSpec, *, wall: bool = False, **kwargs: Any) -> None:
        table = Tabletop(fixed=("wall",) if wall else ())
        super().__init__(task, table=table, sizes=(22, 3), **kwargs)
        self.wall = wall
        self._edge_x, self._edge_z = np.inf, np.inf
        if wall:
            self._edge_x = self.table.rectangle("wall")[2] + _CLEARANCE[0]
            self._edge_z = self.table.height("wall") + _CLEARANCE[2]

    def distance(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the straight-line distance from gripper to goal [m], [..., 3] to [...]."""
        return _norm(np.asarray(achieved_goal, np.float64) - desired_goal)

    def path_distance(self, achieved_goal: NDArray[Any]) -> NDArray[np.float64]:
        """Return the length of the shortest path past the wall [m], [..., 3] to [...]."""
        return self._lengths(np.asarray(achieved_goal, np.float64), self._desired_goal).min(axis=-1)

    def is_success(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return whether the gripper is near enough to the goal, [..., 3] and [..., 3] to [...]."""
        return self.distance(achieved_goal, desired_goal) <= SUCCESS_DISTANCE

    def way(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the corners [K, 3] of a path from ``start`` [3] to ``goal`` [3], goal last."""
        straight, over, around = self._lengths(start, goal)
        if np.isfinite(straight):
            return goal[None]
        axis, edge = (2, self._edge_z) if over <= around else (0, self._edge_x)
        up, down = (np.hypot(end[1], edge - end[axis]) for end in (start, goal))
        before, after = start + (goal - start) * up / (up + down), goal.copy()
        before[axis] = edge
        after[:] = before
        before[1], after[1] = _CLEARANCE[1] * np.sign([start[1], goal[1]])
        return np.stack([before, after, goal])

    def _lengths(
        self, start: NDArray[np.float64], goal: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return path lengths [..., 3]: straight, over the wall, and around it.

        Those over an edge of the wall are exact for a thin wall: unfolded about the edge, they are
        straight lines.
        """
        straight = _norm(start - goal)
        if not self.wall:
            return np.stack(
                [straight, np.full_like(straight, np.inf), np.full_like(straight, np.inf)], axis=-1
            )
        y, goal_y = start[..., 1], goal[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = start + (y / (y - goal_y))[..., None] * (goal - start)
        blocked = (
            (y * goal_y < 0.0)
            & (crossing[..., 0] < self._edge_x)
            & (crossing[..., 2] < self._edge_z)
        )
        return np.stack(
            [
                np.where(blocked, np.inf, straight),
                _over_edge(
                    start[..., 0] - goal[0],
                    y,
                    goal_y,
                    self._edge_z - start[..., 2],
                    self._edge_z - goal[2],
                ),
                _over_edge(
                    start[..., 2] - goal[2],
                    y,
                    goal_y,
                    self._edge_x - start[..., 0],
                    self._edge_x - goal[0],
                ),
            ],
            axis=-1,
        )

    def _moving_objects(self) -> tuple[MovingObject, ...]:
        return (self.table.arm.as_moving_object(),)

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        del split  # the table is the same in all of them
        shortest, longest = (WALL_STRATA if self.wall else STRATA)[stratum]
        while True:
            start, goals = rng.uniform(WORKSPACE_LOW[:3], WORKSPACE_HIGH[:3], size=(2, _BATCH, 3))
            lengths = self._lengths(goals, start[0])
            fitting = (lengths.min(axis=1) > shortest) & (lengths.min(axis=1) <= longest)
            if self.wall:
                apart = np.minimum(np.abs(goals[:, 1]), np.abs(start[0, 1])) > _CLEARANCE[1]
                fitting &= np.isinf(lengths[:, 0]) & apart
            if fitting.any():
                break
        goal, length = goals[fitting][0], float(lengths[fitting][0].min())
        num_corners = len(self.way(start[0], goal)) - 1
        reference_steps = (
            SETTLING_STEPS + _CORNER_STEPS * num_corners + int(np.ceil(length / STEP[0]))
        )
        return EpisodeDraw(self._rest_state(start[0]), self._rest_state(goal), reference_steps)

    def _rest_state(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.table.arm.rest_state(np.concatenate([position, np.zeros(2)]), {})

    def _observation_names(self) -> tuple[str, ...]:
        return OBSERVATION_NAMES

    def _observation(self) -> NDArray[np.float64]:
        return self.table.arm.state

    def _achieved_goal(self) -> NDArray[np.float64]:
        return self.table.arm.pose[:3]


def _norm(offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt((offsets * offsets).sum(axis=-1))


def _over_edge(
    along: NDArray[np.float64],
    y: NDArray[np.float64],
    goal_y: float,
    below: NDArray[np.float64],
    goal_below: float,
) -> NDArray[np.float64]:
    """Return the length of a path over an edge at y = 0 [m].

    The ends are ``below`` the edge and ``along`` apart.
    """
    return np.hypot(along, np.hypot(y, below) + np.hypot(goal_y, goal_below))
