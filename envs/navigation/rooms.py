"""Rooms: a robot that drives and turns, and sees what is in front of it."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace, in_boxes
from jepabench.envs.mujoco_world.camera import Camera
from jepabench.envs.mujoco_world.mujoco_env import MujocoEnv
from jepabench.envs.mujoco_world.rendering import RayCamera
from jepabench.envs.mujoco_world.scenery import Thing, add_distractors, distractors, view
from jepabench.envs.mujoco_world.simulation import JointMotion, Simulation
from jepabench.envs.navigation.layouts import HALF_SIZE, draw_layout, layout
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.factors import Factor
from jepabench.envs.variations.moving_objects import MovingObject

SUCCESS_DISTANCE, SUCCESS_ANGLE = 0.3, math.radians(20.0)
STEP_LENGTH, STEP_TURN = 0.15, 0.3
STRATA = {"near": (0.5, 1.5), "medium": (1.5, 4.0), "far": (4.0, 12.0)}
_JOINTS = ("robot_x", "robot_y", "robot_heading")
_CLEARANCE = 0.2  # the robot's radius is 0.15
_CLEAR_VIEW = 1.0
_TURN_COUNTS_WITHIN = 2.0  # [m]
_DISTRACTOR_RADIUS, _DISTRACTOR_HEIGHT = 0.2, 0.02
_EYE_HEIGHT, _FIELD_OF_VIEW = 0.85, math.pi / 2.0
_SUBSTEPS = 10
_BLOCKED = 0.002  # contacts give way by less [m]
_STEPS_PER_BEND, _SETTLING_STEPS = 2, 6  # that the expert needs beyond driving and turning


class Rooms(MujocoEnv):
    """A robot with a camera drives through unknown rooms to where the goal image was taken.

    ## Description

    Three or four rooms in a square of 6 m x 6 m are connected by doors and contain coloured
    obstacles. The state is not observable from one frame: pixels show neither the position of the
    robot nor what is behind the next wall. A wall stops the robot or lets it slide along. It has no
    other effect.

    ## Action space

    | index | action | low | high | unit |
    |---|---|---|---|---|
    | 0 | way ahead, backwards if negative | -1 | 1 | 0.15 m |
    | 1 | turn, to the left if positive | -1 | 1 | 0.3 rad |

    A control step takes 0.2 s. The robot moves along a straight line whose direction is the mean of
    its headings before and after the turn. Odometry is exact.

    ## Observation space

    | index | ``observation`` | joint | unit |
    |---|---|---|---|
    | 0 | position x | ``robot_x`` | m |
    | 1 | position y | ``robot_y`` | m |
    | 2 | cosine of the heading | ``robot_heading`` | |
    | 3 | sine of the heading | ``robot_heading`` | |

    ``achieved_goal`` and ``desired_goal`` have the same four entries. Only the frames show the
    rooms, from the view of the robot: 90 degrees wide, 0.85 m above the floor. Every wall has its
    own hue and a pattern of 0.5 m squares.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the distance to the goal [m], in which a turn of 1 rad
    counts as 0.5 m because both take the same time.

    ## Starting state

    Start and goal are uniformly random positions with 0.2 m of clearance, connected by a shortest
    path of the stratum's length. Headings are uniformly random among those with 1 m of free view,
    because a frame of a wall at close range shows little. The rooms are one of 100 floor plans in
    ``train``. Each other split has an unlimited number of floor plans of its own.

    ## Success

    The robot is within 0.3 m of the goal, and its heading is within 20 degrees of the goal's.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    The world takes the arguments of ``GoalEnv``. ``info["violation"]`` is True if a wall or an
    obstacle shortened the last movement.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    distance_unit = ""  # metres and radians

    def __init__(self, task: TaskSpec, **kwargs: Any) -> None:
        super().__init__(
            task,
            action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
            observation_size=4,
            goal_size=4,
            **kwargs,
        )
        self.step_length, self.step_turn, self._blocked = STEP_LENGTH, STEP_TURN, False
        self._build(layout("train", 0))

    @property
    def position(self) -> NDArray[np.float64]:
        """Where the robot is, [2] [m]."""
        return self.simulation.data.qpos[:2].copy()

    @property
    def heading(self) -> float:
        """The robot's direction, counter-clockwise from x [rad], not wrapped."""
        return float(self.simulation.data.qpos[2])

    def distance(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the distance plus 0.5 m per rad of heading error [m], [..., 4] to [...]."""
        turn = STEP_LENGTH / STEP_TURN * heading_error(achieved_goal, desired_goal)
        return _position_error(achieved_goal, desired_goal) + turn

    def is_success(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return whether position and heading are close to the goal, [..., 4] to [...]."""
        near = _position_error(achieved_goal, desired_goal) <= SUCCESS_DISTANCE
        return near & (heading_error(achieved_goal, desired_goal) <= SUCCESS_ANGLE)

    def path_distance(self, achieved_goal: NDArray[Any]) -> NDArray[np.float64]:
        """Return the path length to the present goal plus a turn [m], [..., 4] to [...].

        The turn counts as in ``distance``, but fully at the goal only and not at all beyond 2 m: on
        the way there the robot has to look where it drives. Less way is always better, whatever the
        turn.
        """
        way = self.free_space.distances(achieved_goal[..., :2], self._desired_goal[:2])
        turn = STEP_LENGTH / STEP_TURN * heading_error(achieved_goal, self._desired_goal)
        return way + turn * np.maximum(1.0 - way / _TURN_COUNTS_WITHIN, 0.0)

    def _factors(self) -> tuple[Factor, ...]:
        def step(name: str, action: str, unit: str, default: float) -> Factor:
            return Factor(
                name=name,
                description=f"{action} by an action of 1",
                unit=unit,
                default=default,
                apply=lambda value: setattr(self, name, float(value[0])),
                allowed=(0.1 * default, 2.0 * default),
                mild=(0.9 * default, 1.1 * default),
                hard=(0.6 * default, 1.4 * default),
            )

        area = (-HALF_SIZE, -HALF_SIZE, HALF_SIZE, HALF_SIZE)
        return (
            Thing(self, "floor", geoms=("floor",)).colour(hard=(0.4, 1.0)),
            distractors(self, area=area),
            step("step_length", "way", "m", STEP_LENGTH),
            step("step_turn", "turn", "rad", STEP_TURN),
            *view(self),
        )

    def _moving_objects(self) -> tuple[MovingObject, ...]:
        motion = JointMotion(lambda: self.simulation, _JOINTS)
        robot = MovingObject(
            name="robot",
            get_motion=motion.get,
            set_motion=motion.set,
            sample=lambda rng: self.free_space.sample(rng),
            extent=2.0 * HALF_SIZE,
            is_free=lambda places: self.free_space.contains(places),
            in_wall=lambda places: in_boxes(places, self.free_space.walls),
        )
        return (robot,)

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        world = draw_layout(rng, split=split)
        self._set_world(world)
        shortest, longest = STRATA[stratum]
        start, goal, length = self.free_space.sample_pair(rng, shortest=shortest, longest=longest)
        headings = [self._draw_heading(rng, place) for place in (start, goal)]
        bends = np.diff(np.vstack([start, self.free_space.path(start, goal)]), axis=0)
        directions = [headings[0], *np.arctan2(bends[:, 1], bends[:, 0]).tolist(), headings[1]]
        turning = sum(
            abs(wrap_angle(after - before)) for before, after in itertools.pairwise(directions)
        )
        moving = math.ceil(length / STEP_LENGTH) + math.ceil(turning / STEP_TURN)
        return EpisodeDraw(
            self._state_at(start, headings[0]),
            self._state_at(goal, headings[1]),
            moving + _STEPS_PER_BEND * len(bends) + _SETTLING_STEPS,
            world,
        )

    def _draw_heading(self, rng: np.random.Generator, place: NDArray[np.float64]) -> float:
        """Return a uniformly random heading with a free view, or any heading if there is none."""
        headings = rng.uniform(-np.pi, np.pi, 100)
        ahead = place + _CLEAR_VIEW * np.stack([np.cos(headings), np.sin(headings)], axis=1)
        free = self.free_space.contains(ahead) & self.free_space.visible(place, ahead)
        return float(headings[np.argmax(free)])

    def _state_at(self, place: NDArray[np.float64], heading: float) -> NDArray[np.float64]:
        return self.simulation.rest_state(dict(zip(_JOINTS, (*place, heading), strict=True)))

    def _set_world(self, world: Mapping[str, NDArray[Any]]) -> None:
        if any(not np.array_equal(value, self._world[name]) for name, value in world.items()):
            self._build(world)

    def _build(self, world: Mapping[str, NDArray[Any]]) -> None:
        # Compiling takes a millisecond or two; resizing geoms would leave behind what MuJoCo
        # derives from their sizes.
        self._world = world
        self.simulation = Simulation(_compile(world))
        camera = Camera(
            position=(0.0, 0.0, _EYE_HEIGHT),
            target=(1.0, 0.0, _EYE_HEIGHT),
            field_of_view=_FIELD_OF_VIEW,
        )
        self.camera = RayCamera(
            self.simulation.model, camera, ambient=0.7, checker=0.5, mount="robot"
        )
        self.variations.renew()
        bounds = HALF_SIZE * np.array([-1.0, -1.0, 1.0, 1.0])
        space = FreeSpace(bounds=bounds, boxes=world["boxes"], clearance=_CLEARANCE)
        self.free_space: FreeSpace = space  # pyright: ignore[reportIncompatibleVariableOverride]

    def _set_physics(self, physics: NDArray[np.float64]) -> None:
        super()._set_physics(physics)
        self._blocked = False

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        data = self.simulation.data
        way, turn = self.step_length * float(action[0]), self.step_turn * float(action[1])
        mean_heading = self.heading + 0.5 * turn
        x, y = math.cos(mean_heading), math.sin(mean_heading)
        before_x, before_y, _ = data.qpos.tolist()
        data.qvel[:] = np.array([way * x, way * y, turn]) / self.task.control_dt
        self.simulation.step(_SUBSTEPS)
        # The pose alone is the state: neither speed nor the solver's memory of a contact is carried
        # over.
        data.qvel[:] = 0.0
        data.qacc_warmstart[:] = 0.0
        after_x, after_y, _ = data.qpos.tolist()
        missing = way - ((after_x - before_x) * x + (after_y - before_y) * y)
        self._blocked = math.copysign(1.0, way) * missing > _BLOCKED

    def _observation_names(self) -> tuple[str, ...]:
        return ("robot x", "robot y", "robot heading cos", "robot heading sin")

    def _observation(self) -> NDArray[np.float64]:
        x, y, heading = self.simulation.data.qpos.tolist()
        return np.array([x, y, math.cos(heading), math.sin(heading)])

    def _achieved_goal(self) -> NDArray[np.float64]:
        return self._observation()

    def _violated(self) -> bool:
        return self._blocked

    def _frame(self, size: int) -> NDArray[np.uint8]:
        return self.camera.frame(self.simulation.data, size)


def heading_error(achieved_goal: NDArray[Any], desired_goal: NDArray[Any]) -> NDArray[np.float64]:
    """Return the angle between the headings of poses [..., 4], 0 to pi [rad]."""
    achieved, desired = np.asarray(achieved_goal), np.asarray(desired_goal)
    dot = achieved[..., 2] * desired[..., 2] + achieved[..., 3] * desired[..., 3]
    cross = achieved[..., 2] * desired[..., 3] - achieved[..., 3] * desired[..., 2]
    return np.abs(np.arctan2(cross, dot))


def wrap_angle(angle: float) -> float:
    """Return the same angle between -pi and pi [rad]."""
    return math.remainder(angle, math.tau)


def _position_error(achieved_goal: NDArray[Any], desired_goal: NDArray[Any]) -> NDArray[np.float64]:
    offset = np.asarray(achieved_goal) - desired_goal
    x, y = offset[..., 0], offset[..., 1]
    return np.sqrt(x * x + y * y)


def _compile(world: Mapping[str, NDArray[Any]]) -> mujoco.MjModel:
    spec = mujoco.MjSpec.from_file(str(Path(__file__).with_name("rooms.xml")))
    for box, height, is_round, colour in zip(
        *(world[name] for name in ("boxes", "heights", "round", "colours")), strict=True
    ):
        low, high = np.append(box[:2], 0.0), np.append(box[2:], height)
        half = (high - low) / 2.0
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER if is_round else mujoco.mjtGeom.mjGEOM_BOX,
            pos=(low + high) / 2.0,
            size=(half[0], half[2], 0.0) if is_round else half,
            rgba=(*colour, 1.0),
        )
    add_distractors(spec, radius=_DISTRACTOR_RADIUS, heights=(0.0, _DISTRACTOR_HEIGHT))
    return spec.compile()
