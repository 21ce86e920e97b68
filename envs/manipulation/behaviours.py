"""Scripted policies for the arm. Each decides once a block, as a planner of the task has to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.free_space import in_boxes
from jepabench.envs.core.scripted_policy import ScriptedPolicy
from jepabench.envs.manipulation.arm import STEP, WORKSPACE_HIGH, WORKSPACE_LOW
from jepabench.envs.manipulation.pick_place import HOVER, OPEN
from jepabench.envs.manipulation.push import PUSH_DISTANCE, PUSH_HEIGHT
from jepabench.envs.manipulation.tabletop import TABLE

if TYPE_CHECKING:
    from jepabench.envs.core.goal_env import GoalEnv, Observation
    from jepabench.envs.manipulation.pick_place import PickPlace
    from jepabench.envs.manipulation.push import Push
    from jepabench.envs.manipulation.reach import Reach

_REACHED = np.array(
    [0.005, 0.005, 0.005, 0.02, 0.002]
)  # that the command is from a waypoint when it counts as there
_LIFT = 0.10  # above the table: the gripper passes over a block [m]
_CONTACT_DISTANCE = (
    0.05  # about how far the gripper is from the middle of a block that it pushes [m]
)
_PUSH_SPEED = 0.8  # of what the arm can do: a block that is pushed fast slides on
_CORNER_REACHED = 0.01  # how near to a corner of a way the next part of it begins [m]
_CLOSE_ENOUGH = 0.015  # to the goal: no more pushing [m]
_ROOM = 0.045  # that the gripper needs beside a wall [m]
_CLOSED = 0.03  # commanded gap while a cube is held [m]
_DROP = 0.003  # above its goal, where the cube is let go [m]
_BACK_OFF = 0.03  # [m]
_ALIGNED = 0.02  # sideways, within which a gripper is behind a block [m]
_TABLE_LOW, _TABLE_HIGH = np.reshape(TABLE, (2, 2))


class _ArmBehaviour(ScriptedPolicy):
    """Base class of the policies of an arm."""

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        self._arm = cast("Reach | Push | PickPlace", env).table.arm
        super().reset(env, rng)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the action [5] of the next block."""
        return super().act(observation).clip(-1.0, 1.0)

    def _towards(self, pose: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the action [5], held for a block, that moves the command towards a pose [5]."""
        action = (pose - self._arm.command) / (STEP * self._hold)
        action[:3] /= max(1.0, float(np.abs(action[:3]).max()))
        return action


class _Waypoints(_ArmBehaviour):
    """Visits one pose after another, and plans again when the last is reached or out of reach."""

    patience: ClassVar[int] = 10
    noise: float = 0.0

    def _start(self) -> None:
        self._poses: list[NDArray[np.float64]] = []
        self._waited = 0

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        self._waited += 1
        while self._poses and (self._is_at(self._poses[0]) or self._waited > self.patience):
            self._poses, self._waited = self._poses[1:], 0
        if not self._poses:
            self._poses = [
                pose.clip(self._arm.low, self._arm.high) for pose in self._plan(observation)
            ]
        noise = self.noise * self._rng.normal(size=len(STEP)) if self.noise else 0.0
        return self._towards(self._poses[0]) + noise

    def _is_at(self, pose: NDArray[np.float64]) -> bool:
        tolerance = _REACHED + 2.0 * self.noise * self._hold * STEP
        return bool((np.abs(pose - self._arm.command) <= tolerance).all())

    def _plan(self, observation: Observation) -> list[NDArray[np.float64]]:
        raise NotImplementedError

    def _anywhere(self) -> NDArray[np.float64]:
        return self._rng.uniform(self._arm.low, self._arm.high)


@dataclass(kw_only=True)
class RandomMotion(_Waypoints):
    """Goes to one random pose of the workspace after another, with noise on its actions.

    Attributes:
        noise: Standard deviation, in units of the action.
    """

    noise: float = 0.3

    def _plan(self, observation: Observation) -> list[NDArray[np.float64]]:
        return [self._anywhere()]


@dataclass(kw_only=True)
class WithheldMotion(RandomMotion):
    """``RandomMotion`` without the pairs of position and action that its world withholds.

    The gripper is beyond the boundary if itself or its command is. There it moves forward along the
    axis only to get to its next pose, and not by noise, which would carry it to the far end. On the
    other side, where all motion is free, it mostly stays.

    Attributes:
        cross_probability: That the next pose may be on either side of the boundary.
    """

    cross_probability: float = 0.1

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        action, withheld, here = super()._decide(observation), self._env.withheld, self._farthest
        if withheld.is_beyond(here):
            action[withheld.axis] = self._towards(self._poses[0])[withheld.axis]
        return withheld.redirect(here, action)

    def _anywhere(self) -> NDArray[np.float64]:
        pose, withheld, here = super()._anywhere(), self._env.withheld, self._farthest
        if withheld.is_beyond(here):
            pose[withheld.axis] = max(pose[withheld.axis], here[withheld.axis])
        elif self._rng.random() > self.cross_probability:
            low, high = self._arm.low[withheld.axis], withheld.boundary
            pose[withheld.axis] = self._rng.uniform(low, high)
        return pose

    @property
    def _farthest(self) -> NDArray[np.float64]:
        return np.maximum(self._arm.pose, self._arm.command)


class ReachExpert(_ArmBehaviour):
    """Goes to the goal, over the wall or around it, and stays there."""

    def _start(self) -> None:
        self._way = np.empty((0, 3))

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        here = self._arm.command
        if not len(self._way):
            self._way = cast("Reach", self._env).way(here[:3], observation["desired_goal"])
        if len(self._way) > 1 and np.linalg.norm(self._way[0] - here[:3]) < _CORNER_REACHED:
            self._way = self._way[1:]
        here[:3] = self._way[0]
        return self._towards(here)


@dataclass(kw_only=True)
class RandomPushes(_Waypoints):
    """Mostly pushes the block along random lines, and sometimes moves freely, with action noise.

    Attributes:
        noise: Standard deviation, in units of the action.
        push_probability: That the next thing it does is a push.
        aside: Standard deviation of how far a push misses the block's middle [m].
        longest: Way over which it pushes the block [m].
    """

    noise: float = 0.15
    push_probability: float = 0.85
    aside: float = 0.015
    longest: float = 0.3

    def _plan(self, observation: Observation) -> list[NDArray[np.float64]]:
        if self._rng.random() > self.push_probability:
            return [self._anywhere()]
        block, rng = cast("Push", self._env).block.position[:2], self._rng
        # Towards a uniform place of the table: a block at the edge is then mostly pushed back.
        line = rng.uniform(_TABLE_LOW, _TABLE_HIGH) - block
        length = max(float(np.linalg.norm(line)), 1e-6)
        line /= length
        sideways = rng.normal(0.0, self.aside) * np.array([-line[1], line[0]])
        behind = block + sideways - PUSH_DISTANCE * line
        end = (
            block
            + sideways
            + (min(length, rng.uniform(0.0, self.longest)) - _CONTACT_DISTANCE) * line
        )
        yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        up = _pose(self._arm.pose[:2], _LIFT, yaw)
        return [
            up,
            _pose(behind, _LIFT, yaw),
            _pose(behind, PUSH_HEIGHT, yaw),
            _pose(end, PUSH_HEIGHT, yaw),
        ]


class PushExpert(_ArmBehaviour):
    """Pushes the block along the shortest path to the goal, and replans in each block."""

    def _start(self) -> None:
        self._way = np.empty((0, 2))

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        env = cast("Push", self._env)
        block, here, goal = env.block.position[:2], self._arm.pose, observation["desired_goal"]
        if env.distance(block, goal) < _CLOSE_ENOUGH:
            return np.zeros(len(STEP))
        line, length = self._push(env, block, self._corner(env, block, goal) - block)
        offset = here[:2] - block
        aside = offset - (offset @ line) * line
        if offset @ line < 0.0 and np.linalg.norm(aside) < _ALIGNED and here[2] < 2.0 * PUSH_HEIGHT:
            # The gripper steers the block's middle back onto the line, as one balances a rod on a
            # finger.
            gap = max(0.0, -offset @ line - _CONTACT_DISTANCE)
            ahead = min(gap + length, _PUSH_SPEED * STEP[0] * self._hold)
            return self._towards(
                _pose(here[:2] - 1.25 * aside + ahead * line, PUSH_HEIGHT, here[3])
            )
        return self._go_behind(env, here, block - PUSH_DISTANCE * line)

    def _push(
        self, env: Push, block: NDArray[np.float64], line: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Return direction [2] and length of a feasible push, if possible along ``line`` [2]."""
        length = float(np.linalg.norm(line))
        directions = np.vstack([line / length, np.eye(2), -np.eye(2)])
        behind = block - PUSH_DISTANCE * directions
        free = ((behind >= WORKSPACE_LOW[:2]) & (behind <= WORKSPACE_HIGH[:2])).all(axis=1)
        if env.wall:
            grown = env.table.rectangle("wall") + _ROOM * np.array([-1.0, -1.0, 1.0, 1.0])
            free &= ~in_boxes(behind, grown[None])
        best = int(np.where(free, directions @ line, -np.inf).argmax())
        return directions[best], length if best == 0 else max(
            float(directions[best] @ line), 2.0 * _ALIGNED
        )

    def _corner(
        self, env: Push, block: NDArray[np.float64], goal: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the next place [2] to push the block to."""
        space, here = env.free_space, env.free_space.nearest(block.copy())
        if not len(self._way) or not space.visible(here, self._way[0]):
            self._way = space.path(here, goal)
        while len(self._way) > 1 and (
            np.linalg.norm(self._way[0] - here) < _CORNER_REACHED
            or space.visible(here, self._way[1])
        ):
            self._way = self._way[1:]
        return self._way[0]

    def _go_behind(
        self, env: Push, here: NDArray[np.float64], behind: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the action [5] that lifts the gripper and moves it behind the block [2]."""
        if np.linalg.norm(here[:2] - behind) < _ALIGNED / 2:
            return self._towards(_pose(behind, PUSH_HEIGHT, 0.0))
        height = max(_LIFT, env.table.height("wall") + PUSH_HEIGHT if env.wall else 0.0)
        if here[2] > 0.8 * height:
            return self._towards(_pose(behind, height, 0.0))
        # Away from the block while it rises, not to drag it along.
        away = here[:2] - env.block.position[:2]
        return self._towards(_pose(here[:2] + _BACK_OFF * away / np.linalg.norm(away), height, 0.0))


@dataclass(kw_only=True)
class RandomGrasps(_Waypoints):
    """Mostly lifts the cube and drops it at a random position, with action noise.

    Otherwise it pushes the cube or moves freely.

    Attributes:
        noise: Standard deviation, in units of the action.
        grasp_probability: That the next thing it does is a grasp.
        push_probability: That it is a push.
        aside: Standard deviation of how far a grasp misses the cube's middle [m].
        highest: That it lets the cube go [m].
    """

    noise: float = 0.1
    grasp_probability: float = 0.7
    push_probability: float = 0.15
    aside: float = 0.008
    highest: float = 0.12

    def _plan(self, observation: Observation) -> list[NDArray[np.float64]]:
        env, rng = cast("PickPlace", self._env), self._rng
        kind = rng.random()
        if kind > self.grasp_probability + self.push_probability:
            return [self._anywhere()]
        cube, yaw = env.cube.position, env.cube.yaw + rng.normal(0.0, 0.1)
        cube[:2] += rng.normal(0.0, self.aside, 2)
        place = rng.uniform(_TABLE_LOW, _TABLE_HIGH)
        up = _pose(self._arm.pose[:2], _LIFT, yaw, OPEN)
        if kind < self.grasp_probability:
            height, turned = rng.uniform(
                [cube[2], yaw - np.pi / 4], [self.highest, yaw + np.pi / 4]
            )
            return [up, *grasp(cube, yaw), *put_down(np.append(place, height), turned)]
        line = (place - cube[:2]) / max(float(np.linalg.norm(place - cube[:2])), 1e-6)
        behind, end = cube[:2] - PUSH_DISTANCE * line, cube[:2] + rng.uniform(-0.05, 0.15) * line
        return [
            up,
            _pose(behind, _LIFT, yaw),
            _pose(behind, cube[2], yaw),
            _pose(end, cube[2], yaw),
        ]


class PickPlaceExpert(_Waypoints):
    """Grasps the cube, carries it to the goal, and tries again if the cube is not there."""

    def _plan(self, observation: Observation) -> list[NDArray[np.float64]]:
        env, goal = cast("PickPlace", self._env), observation["desired_goal"]
        if env.distance(observation["achieved_goal"], goal) < _CLOSE_ENOUGH:
            return [self._arm.command]
        cube, yaw = env.cube.position, env.cube.yaw
        turn = (np.arctan2(goal[4], goal[3]) / 4.0 - yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
        carry = _pose(cube[:2], max(cube[2], goal[2]) + HOVER, yaw, _CLOSED)
        return [
            *grasp(cube, yaw),
            carry,
            *put_down(goal[:3] + np.array([0.0, 0.0, _DROP]), yaw + turn),
        ]


def grasp(cube: NDArray[np.float64], yaw: float) -> list[NDArray[np.float64]]:
    """Return the poses [5] that grasp and lift a cube at a position [3] with yaw ``yaw``."""
    above, at = cube[2] + HOVER, cube[2]
    return [
        _pose(cube[:2], *way)
        for way in ((above, yaw, OPEN), (at, yaw, OPEN), (at, yaw, _CLOSED), (above, yaw, _CLOSED))
    ]


def put_down(place: NDArray[np.float64], yaw: float) -> list[NDArray[np.float64]]:
    """Return the poses [5] that place the held cube at a position [3] with a yaw, and retreat."""
    above, at = place[2] + HOVER, place[2]
    return [
        _pose(place[:2], *way)
        for way in ((above, yaw, _CLOSED), (at, yaw, _CLOSED), (at, yaw, OPEN), (above, yaw, OPEN))
    ]


def _pose(
    place: NDArray[np.float64], height: float, yaw: float, opening: float = 0.0
) -> NDArray[np.float64]:
    return np.array([*place, height, yaw, opening])
