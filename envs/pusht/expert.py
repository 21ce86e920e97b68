"""The expert of Push-T, which chooses each push by simulation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.pusht.behaviours import Table
from jepabench.envs.pusht.shapes import Shape, turned
from jepabench.envs.pusht.simulation import PUSHER_RADIUS, SIZE, PushSimulation, drive

if TYPE_CHECKING:
    from jepabench.envs.core.goal_env import GoalEnv, Observation
    from jepabench.envs.task import EpisodeDraw

_Point = tuple[float, float]
_Array = NDArray[np.float64]
_SPACING = 10.0  # between two places where a push may start [px]
_STAND_OFF = PUSHER_RADIUS + 6.0  # of the pusher's centre at the start of a push [px]
_CLEARANCE = PUSHER_RADIUS + 5.0  # of the pusher's centre on its way there [px]
_TILTS = (-0.5, 0.0, 0.5)  # of a push against the normal [rad]
_LENGTHS = (10.0, 20.0, 40.0, 80.0, 140.0)  # of the pushes that are only foreseen [px]
_LEAD = 55.0  # of the target while pushing [px]
_TRAVEL = 35.0  # about what the pusher goes in a control step on its way [px]
_ARRIVED = 15.0  # from the start of a push [px]
_OVERSHOOT = 30.0  # beyond a bend of the way; a target at the bend would stop the pusher there [px]
_PATIENCE = 30  # control steps after which an approach is given up
_RADIAN = 180.0 / np.pi  # pixels that a radian counts as, like a degree a pixel
_MOVED = 3.0  # by a push that counts [px]
_REST = 5  # control steps until it looks again
_FAR = 1e4
# The pusher's way in a control step is a sum of shares of the target's lead and of its speed.
_STEP_PER_LEAD, _STEP_PER_SPEED = drive(0.0, 0.0, 1.0)[0], drive(0.0, 1.0, 0.0)[0]


class PushTask(Table, Protocol):
    """What the expert uses of the world."""

    draw: EpisodeDraw


@dataclass(frozen=True, slots=True)
class Push:
    """A push: from where, in which direction (unit vector), and how far [px]."""

    start: _Point
    direction: _Point
    length: float = math.inf

    def along(self, point: _Point) -> float:
        """Return how far along the push a point is [px]."""
        return (point[0] - self.start[0]) * self.direction[0] + (
            point[1] - self.start[1]
        ) * self.direction[1]

    def at(self, length: float) -> _Point:
        """Return the point so far along the push."""
        return self.start[0] + length * self.direction[0], self.start[1] + length * self.direction[
            1
        ]


class Surroundings(FreeSpace):
    """Free positions of the pusher around a block, in the block's frame.

    Corners outside the workspace are excluded.
    """

    def __init__(self, shape: Shape, block: tuple[float, float, float]) -> None:
        self._block = block
        far = np.array([-_FAR, -_FAR, _FAR, _FAR])
        super().__init__(bounds=far, boxes=np.array(shape.boxes), clearance=_CLEARANCE)

    def contains(self, points: _Array) -> NDArray[np.bool_]:
        """Return which of the points [N, 2] are free, [N]."""
        return super().contains(points) & _in_workspace(self.to_world(points))

    def to_world(self, points: _Array) -> _Array:
        """Return points [..., 2] of the block's frame in the workspace [px]."""
        return turned(points, self._block[2]) + self._block[:2]

    def to_block(self, point: _Point) -> _Array:
        """Return a point of the workspace in the block's frame [2] [px]."""
        return turned(np.array(point) - self._block[:2], -self._block[2])


@dataclass(kw_only=True)
class Expert:
    """Pushes the block into the pose of the goal and leaves it there.

    Attributes:
        num_tries: Places to push at that are simulated before one is chosen.
        longest: Control steps of a push at most.
        step_cost: Pixels of error that a control step counts as.
        good_enough: Error at which it stops [px].
        acceptable: Error at which it stops if no single push makes it less [px].
    """

    num_tries: int = 24
    longest: int = 6
    step_cost: float = 1.0
    good_enough: float = 14.0
    acceptable: float = 17.0

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        self._task = cast("PushTask", env)
        self._world = world = self._task.simulation
        self._sketch = PushSimulation(world.shape, friction=world.friction)
        self._contacts, self._normals = contacts(world.shape)
        self._goal = self._task.draw.goal[4:7]
        self._targets = self._way_to_goal()

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the next action [2]."""
        return self._task.action_towards(*next(self._targets))

    def _way_to_goal(self) -> Iterator[_Point]:
        """Yields targets of the pusher, without end."""
        while True:
            push = None
            if self._errors(self._centred(np.array(self._world.block))) > self.good_enough:
                push = self._best_push()
            if push is None:
                yield from [self._world.pusher] * _REST
                continue
            yield from self._approach(push)
            yield from self._push(push)
            yield push.at(push.length - _LEAD)

    def _push(self, push: Push) -> Iterator[_Point]:
        """Yields targets along a push; the last step is as long as what is left of it."""
        lead = math.inf
        while lead > _LEAD:
            length = push.along(self._world.pusher)
            (speed_x, speed_y), (x, y) = self._world.pusher_velocity, push.direction
            lead = (
                push.length - length - _STEP_PER_SPEED * (speed_x * x + speed_y * y)
            ) / _STEP_PER_LEAD
            yield push.at(length + min(lead, _LEAD))

    def _approach(self, push: Push) -> Iterator[_Point]:
        space = Surroundings(self._world.shape, self._world.block)
        path = space.path(
            space.nearest(space.to_block(self._world.pusher)), space.to_block(push.start)
        )
        for _ in range(_PATIENCE):
            here = space.to_block(self._world.pusher)
            if len(path) > 1 and space.visible(space.nearest(here), path[1]):
                path = path[1:]
            ahead = path[0] - here
            distance = math.hypot(*ahead)
            if len(path) > 1:
                ahead *= 1.0 + _OVERSHOOT / max(distance, 1.0)
            elif distance < _ARRIVED:
                return
            x, y = space.to_world(here + ahead).tolist()
            yield x, y

    def _best_push(self) -> Push | None:
        """Return the push with the least error and time, or None if no push can be reached.

        If none makes it better, it is the one from whose end the next one promises most.
        """
        block = np.array(self._world.block)
        space = Surroundings(self._world.shape, self._world.block)
        starts = self._contacts + _STAND_OFF * self._normals
        ways = space.lengths(space.nearest(space.to_block(self._world.pusher)), starts)
        ways[~space.contains(starts)] = np.inf
        wait = self.step_cost * ways / _TRAVEL
        order = np.argsort(self._foreseen(block) + wait)[: self.num_tries]
        order = order[np.isfinite(wait[order])]
        if not len(order):
            return None
        places, inwards = (
            space.to_world(starts[order]).tolist(),
            -turned(self._normals[order], block[2]),
        )
        pushes = [
            Push(tuple(place), tuple(turned(inward, tilt).tolist()))
            for place, inward in zip(places, inwards, strict=True)
            for tilt in _TILTS
        ]
        blocks, lengths = self._try_pushes(pushes, block)
        spent = wait[order].repeat(len(_TILTS))[:, None] + self.step_cost * np.arange(
            1, self.longest + 1
        )
        offset = blocks - block
        moved = np.hypot(offset[..., 0], offset[..., 1]) + _RADIAN * np.abs(offset[..., 2])
        spent[moved < _MOVED] = np.inf
        costs = self._errors(self._centred(blocks)) + spent
        error = self._errors(self._centred(block))
        if costs.min() >= error:
            if error < self.acceptable:
                return None
            costs = self._foreseen(blocks).min(axis=-1) + spent
        chosen, step = np.unravel_index(int(costs.argmin()), costs.shape)
        push = pushes[int(chosen)]
        return Push(push.start, push.direction, float(lengths[chosen, step]))

    def _try_pushes(self, pushes: list[Push], block: _Array) -> tuple[_Array, _Array]:
        """Return block [N, longest, 3] and pusher travel [N, longest] after each step."""
        sketch, shape = self._sketch, (len(pushes), self.longest)
        blocks, lengths = np.empty((*shape, 3)), np.empty(shape)
        for index, push in enumerate(pushes):
            sketch.place((*push.start, 0.0, 0.0, *block))
            for step in range(self.longest):
                sketch.step(*push.at(push.along(sketch.pusher) + _LEAD))
                blocks[index, step], lengths[index, step] = sketch.block, push.along(sketch.pusher)
        return blocks, lengths

    def _foreseen(self, blocks: _Array) -> _Array:
        """Return the least error after a push at each contact, [..., 3] to [..., contacts].

        The block is taken to give way like a plate that nothing else holds. Contacts that the
        pusher cannot get to from the workspace have an infinite error.
        """
        shape, normals = self._world.shape, self._normals
        arms = self._contacts - shape.centre
        levers = arms[:, 1] * normals[:, 0] - arms[:, 0] * normals[:, 1]
        shares = 1.0 / (1.0 + levers**2 / shape.moment)
        angles = blocks[..., 2:]
        motions = np.empty((*angles.shape[:-1], len(levers), 3))  # for a pixel of the pusher's way
        motions[..., :2] = turned(-normals * shares[:, None], angles)
        motions[..., 2] = levers * shares / shape.moment
        centred = self._centred(blocks)[..., None, :]
        errors = [self._errors(centred + length * motions) for length in _LENGTHS]
        places = turned(self._contacts + PUSHER_RADIUS * normals, angles) + blocks[..., None, :2]
        return np.where(_in_workspace(places), np.min(errors, axis=0), np.inf)

    def _centred(self, blocks: _Array) -> _Array:
        """Return blocks [..., 3] with the position of their centre of gravity."""
        result = np.array(blocks)
        result[..., :2] += turned(np.array(self._world.shape.centre), result[..., 2])
        return result

    def _errors(self, centred: _Array) -> _Array:
        """Return how far centred blocks [..., 3] are from the goal, [...] [px]."""
        offset = centred - self._centred(self._goal)
        angle = (offset[..., 2] + np.pi) % (2.0 * np.pi) - np.pi
        return np.sqrt(offset[..., 0] ** 2 + offset[..., 1] ** 2 + (_RADIAN * angle) ** 2)


def contacts(shape: Shape) -> tuple[_Array, _Array]:
    """Return points on the outline of a shape [N, 2] and their outward normals [N, 2]."""
    places, normals = [], []
    for left, top, right, bottom in shape.boxes:
        for start, end, normal in (
            ((left, top), (right, top), (0.0, -1.0)),
            ((left, bottom), (right, bottom), (0.0, 1.0)),
            ((left, top), (left, bottom), (-1.0, 0.0)),
            ((right, top), (right, bottom), (1.0, 0.0)),
        ):
            count = max(2, round(math.dist(start, end) / _SPACING))
            share = ((np.arange(count) + 0.5) / count)[:, None]
            side = np.array(start) * (1.0 - share) + np.array(end) * share
            outside = ~shape.contains(side + 0.5 * np.array(normal))
            places.append(side[outside])
            normals.append(np.tile(normal, (int(outside.sum()), 1)))
    return np.concatenate(places), np.concatenate(normals)


def _in_workspace(points: _Array) -> NDArray[np.bool_]:
    return np.asarray(((points >= 0.0) & (points <= SIZE)).all(axis=-1))
