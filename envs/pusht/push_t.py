"""Push-T: a round pusher shoves a block into a pose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.errors import unknown_name
from jepabench.envs.pusht.behaviours import RandomPushes
from jepabench.envs.pusht.drawing import Drawing, Look
from jepabench.envs.pusht.factors import factors, moving_objects
from jepabench.envs.pusht.placing import free_placement
from jepabench.envs.pusht.shapes import SHAPES, SHAPES_OF_SPLIT, T
from jepabench.envs.pusht.simulation import REACH, SIZE, PushSimulation, drive
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.factors import Factor
from jepabench.envs.variations.moving_objects import MovingObject

CONTROLS = ("relative", "absolute")
UNIT = 100.0  # pixels in a unit of observations and goals
LOOK_AHEAD = {"steps25": 25, "steps50": 50, "steps75": 75, "steps100": 100}
SUCCESS_DISTANCE, SUCCESS_ANGLE = 20.0, np.pi / 9
STRICT_DISTANCE, STRICT_ANGLE = 10.0, np.pi / 18
FRICTION_RANGE = (0.0, 1.0)
_GOAL_SIZE, _OBSERVATION_SIZE, _OUTLINE_SIZE = 6, 8, 12
_MAX_OFFSET = 25  # control steps of a behaviour before the earliest start
_MAX_WAIT = 75  # control steps until a pair apart enough is given up
_FREE_STEPS = 75
_GOAL_NOISE = 0.05  # of the pushes that goals come from, in units of an action


class PushT(GoalEnv):
    """A round pusher moves a T-shaped block on a table into the goal pose.

    ## Description

    Physics, sizes and gains are those of published Push-T (Diffusion Policy, gym-pusht): the same
    targets give the same states. The block slides without friction along what it touches, and stops
    as soon as nothing pushes it. As in DINO-WM, goals are poses and actions are displacements.
    Lengths are in pixels (px) of the published workspace of 512 px x 512 px, whatever the size of
    the frames. The y axis points down.

    ## Action space

    | index | action | low | high | unit |
    |---|---|---|---|---|
    | 0 | target of the pusher along x, from where it is | -1 | 1 | 100 px |
    | 1 | target of the pusher along y, from where it is | -1 | 1 | 100 px |

    A PD controller (stiffness 100 /s^2, damping 20 /s) drives the pusher towards the target for 10
    physics steps of 0.01 s. The target is clipped to the workspace. With an action held at 1, the
    pusher moves 50 px per control step. With ``control="absolute"``, an action is the target
    itself, from 0 to 512 px, as in gym-pusht.

    ## Observation space

    | index | ``observation`` | unit |
    |---|---|---|
    | 0, 1 | block's position x, y, from the middle of the workspace | 100 px |
    | 2, 3 | sine and cosine of the block's angle | |
    | 4, 5 | pusher's position x, y, from the middle of the workspace | 100 px |
    | 6, 7 | pusher's velocity x, y | 100 px/s |
    | 8 ... 19 | random shapes only: extent of the block in 12 directions of its frame | 100 px |

    The position of a T is the middle of the top of its bar, as in gym-pusht. The position of any
    other shape is its centre of gravity. ``achieved_goal`` and ``desired_goal`` are entries 0 to 5.
    Frames show the table from above in gym-pusht's colours. Shapes with rotational symmetry have a
    dark mark. The goal is not drawn into frames; it has a frame of its own.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the distance ``info["distance"]``: the root of the sum of
    squares of the block's position error [px] and angle error [degrees].

    ## Starting state

    In ``steps25`` to ``steps100``, start and goal are states of a new trajectory of the random
    pusher, that many control steps apart. In ``free``, block and pusher have uniformly random free
    poses at the start and at the goal. Everything is at rest at the start. With random shapes,
    each split has shapes of its own.

    ## Success

    The block's position is within 20 px and its angle within 20 degrees of the goal. Two more rules
    are recorded. ``info["success_strict"]``: within 10 px and 10 degrees.
    ``info["success_joint"]``, as published by DINO-WM: the positions of block and pusher, as one
    vector of 4, are within 20 px, and the angle is within 20 degrees.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    In addition to the arguments of ``GoalEnv``:

    * ``control``: ``relative`` or ``absolute``.
    * ``random_shape``: whether each episode has a different shape (DINO-WM's PushObj).
    * ``random_friction``: whether the friction coefficient between block and pusher, and between
      block and walls, is drawn from 0 to 1 for each episode. The observation does not show it.

    ## Versions

    * v1: first version. pymunk 7.3.1, which gives the states of gym-pusht 0.1.8 with pymunk 6.11.1
      to the last bit.
    """

    distance_unit = ""  # pixels and degrees

    def __init__(
        self,
        task: TaskSpec,
        *,
        control: str = "relative",
        random_shape: bool = False,
        random_friction: bool = False,
        **kwargs: Any,
    ) -> None:
        if control not in CONTROLS:
            raise unknown_name("control", control, CONTROLS)
        relative = control == "relative"
        super().__init__(
            task,
            action_space=spaces.Box(-1.0, 1.0, (2,), np.float32)
            if relative
            else spaces.Box(0.0, SIZE, (2,), np.float32),
            observation_size=_OBSERVATION_SIZE + (_OUTLINE_SIZE if random_shape else 0),
            goal_size=_GOAL_SIZE,
            **kwargs,
        )
        self.control, self.random_shape, self.random_friction = (
            control,
            random_shape,
            random_friction,
        )
        self.simulation, self.look = PushSimulation(), Look()
        self._shape, self._scale, self._outline = T, 1.0, np.empty(0)
        self._drawings: dict[int, Drawing] = {}

    def distance(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the root of the sum of squares of position [px] and angle error [degrees]."""
        position, angle = pose_errors(achieved_goal, desired_goal)
        return np.hypot(position, np.degrees(angle))

    def is_success(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return whether the block's pose is close to the goal, [..., 6] and [..., 6] to [...]."""
        position, angle = pose_errors(achieved_goal, desired_goal)
        return (position < SUCCESS_DISTANCE) & (angle < SUCCESS_ANGLE)

    def imagine_goals(self, actions: NDArray[Any]) -> NDArray[np.float64]:
        """Return the result of ``GoalEnv.imagine_goals``.

        Nothing stops the pusher, so its paths are computed for all plans at once.
        """
        candidates, steps, held, _ = actions.shape
        position = np.tile(self.simulation.pusher, (candidates, 1))
        velocity = np.tile(self.simulation.pusher_velocity, (candidates, 1))
        ways, pusher = [], np.empty((candidates, steps, 2))
        for step in range(steps):
            for index in range(held):
                target = actions[:, step, index]
                if self.control == "relative":
                    target = np.clip(position + REACH * target, 0.0, SIZE)
                position, velocity, way = drive(position, velocity, target)
                ways += way
            pusher[:, step] = position
        plans = np.stack(ways, axis=1).reshape(candidates, steps, -1, 2)
        return make_goals(pusher, self.simulation.outcomes(plans))

    def action_towards(self, x: float, y: float) -> NDArray[np.float32]:
        """Return the action [2] within the bounds with this target [px], or towards it."""
        if self.control == "absolute":
            return np.array([min(max(x, 0.0), SIZE), min(max(y, 0.0), SIZE)], np.float32)
        at_x, at_y = self.simulation.pusher
        along_x, along_y = (x - at_x) / REACH, (y - at_y) / REACH
        shorten = max(1.0, abs(along_x), abs(along_y))
        return np.array([along_x / shorten, along_y / shorten], np.float32)

    def _judge(self, achieved: NDArray[np.float64]) -> dict[str, Any]:
        desired = self._desired_goal
        position, angle = (float(error) for error in pose_errors(achieved, desired))
        pusher = math.dist(achieved[4:], desired[4:]) * UNIT
        return {
            "is_success": position < SUCCESS_DISTANCE and angle < SUCCESS_ANGLE,
            "success_strict": position < STRICT_DISTANCE and angle < STRICT_ANGLE,
            "success_joint": math.hypot(position, pusher) < SUCCESS_DISTANCE
            and angle < SUCCESS_ANGLE,
            "distance": float(np.hypot(position, np.degrees(angle))),
        }

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        world = self._draw_world(rng, split)
        self._set_world(world)
        start = free_placement(rng, self.simulation.shape)
        if stratum in LOOK_AHEAD:
            start, goal = self._pair_on_trajectory(rng, start, LOOK_AHEAD[stratum])
            return EpisodeDraw(start, goal, LOOK_AHEAD[stratum], world)
        return EpisodeDraw(start, free_placement(rng, self.simulation.shape), _FREE_STEPS, world)

    def _draw_world(self, rng: np.random.Generator, split: str) -> dict[str, NDArray[Any]]:
        world: dict[str, NDArray[Any]] = {}
        if self.random_shape:
            choices = SHAPES_OF_SPLIT[split]
            world["shape"] = np.array(SHAPES.index(choices[rng.integers(len(choices))]))
        if self.random_friction:
            world["friction"] = np.array(rng.uniform(*FRICTION_RANGE))
        return world

    def _pair_on_trajectory(
        self, rng: np.random.Generator, start: NDArray[np.float64], steps: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return two placements at rest, ``steps`` control steps apart on a random trajectory.

        It is the first such pair that is not solved at the start.
        """
        simulation, behaviour = self.simulation, RandomPushes(noise=(_GOAL_NOISE,))
        simulation.place(start)
        behaviour.reset(self, rng)
        first = int(rng.integers(_MAX_OFFSET + 1))
        passed = [simulation.placement]
        for step in range(1, first + steps + _MAX_WAIT):
            self._step_physics(np.asarray(behaviour.act({}), np.float64))
            passed.append(simulation.placement)
            if step >= first + steps and not self._solved(passed[step - steps], passed[step]):
                break
        for placement in (passed[-1], passed[-1 - steps]):
            placement[2:4] = 0.0
        return passed[-1 - steps], passed[-1]

    def _solved(self, placement: NDArray[np.float64], goal: NDArray[np.float64]) -> bool:
        achieved, desired = (make_goals(values[:2], values[4:]) for values in (placement, goal))
        return bool(self.is_success(achieved, desired))

    def _set_world(self, world: Mapping[str, NDArray[Any]]) -> None:
        self._shape = SHAPES[int(world["shape"])] if "shape" in world else T
        self.set_block(friction=float(world["friction"]) if "friction" in world else None)

    def change_look(self, **changes: Any) -> None:
        """Change how things look: attributes of ``Look``."""
        self.look = replace(self.look, **changes)
        self._drawings = {}

    def set_block(self, *, scale: float | None = None, friction: float | None = None) -> None:
        """Change size (as a multiple) or friction of the block.

        The caller must place everything again.
        """
        self._scale = self._scale if scale is None else scale
        shape = self._shape.scaled(self._scale)
        friction = self.simulation.friction if friction is None else friction
        if (shape, friction) != (self.simulation.shape, self.simulation.friction):
            self.simulation = PushSimulation(shape, friction=friction)
            self._drawings = {}
        self._outline = shape.outline(_OUTLINE_SIZE) / UNIT if self.random_shape else np.empty(0)

    def _factors(self) -> tuple[Factor, ...]:
        return factors(self, friction=not self.random_friction)

    def _moving_objects(self) -> tuple[MovingObject, ...]:
        return moving_objects(self)

    def _get_physics(self) -> NDArray[np.float64]:
        return self.simulation.get_state()

    def _set_physics(self, physics: NDArray[np.float64]) -> None:
        self.simulation.set_state(physics)

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        x, y = action.tolist()
        if self.control == "relative":
            at_x, at_y = self.simulation.pusher
            x, y = min(max(at_x + REACH * x, 0.0), SIZE), min(max(at_y + REACH * y, 0.0), SIZE)
        self.simulation.step(x, y)

    def _observation_names(self) -> tuple[str, ...]:
        return (
            *("block x", "block y", "block angle sin", "block angle cos"),
            *("pusher x", "pusher y", "pusher velocity x", "pusher velocity y"),
            *(f"block outline {number}" for number in range(_OUTLINE_SIZE * self.random_shape)),
        )

    def _observation(self) -> NDArray[np.float64]:
        velocity = np.array(self.simulation.pusher_velocity) / UNIT
        return np.concatenate([self._achieved_goal(), velocity, self._outline])

    def _achieved_goal(self) -> NDArray[np.float64]:
        return make_goals(np.array(self.simulation.pusher), np.array(self.simulation.block))

    def _frame(self, size: int) -> NDArray[np.uint8]:
        return self._drawing(size).frame(self.simulation.pusher, self.simulation.block)

    def _drawing(self, size: int) -> Drawing:
        if size not in self._drawings:
            self._drawings[size] = Drawing(self.simulation.shape, size, self.look)
        return self._drawings[size]


def make_goals(pusher: NDArray[np.float64], block: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the goals [..., 6] of pushers [..., 2] [px] and blocks [..., 3] [px, px, rad]."""
    result = np.empty((*block.shape[:-1], _GOAL_SIZE))
    result[..., 0:2], result[..., 4:6] = (
        (block[..., :2] - SIZE / 2) / UNIT,
        (pusher - SIZE / 2) / UNIT,
    )
    result[..., 2], result[..., 3] = np.sin(block[..., 2]), np.cos(block[..., 2])
    return result


def pose_errors(
    achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return position error [px] and angle error [rad, 0 to pi], [..., 6] and [..., 6] to [...]."""
    achieved, desired = np.asarray(achieved_goal), np.asarray(desired_goal)
    x, y, sine, cosine = (achieved[..., index] for index in range(4))
    goal_x, goal_y, goal_sine, goal_cosine = (desired[..., index] for index in range(4))
    position = np.hypot(x - goal_x, y - goal_y) * UNIT
    turn = np.arctan2(
        sine * goal_cosine - cosine * goal_sine, cosine * goal_cosine + sine * goal_sine
    )
    return position, np.abs(turn)
