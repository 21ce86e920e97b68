"""PointMaze: a force-controlled ball with the physics of Gymnasium-Robotics' PointMaze."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.errors import unknown_name
from jepabench.envs.maze import diverse
from jepabench.envs.maze.arena import (
    WALL_COLOUR,
    Arena,
    add_box,
    load,
)
from jepabench.envs.maze.layouts import LAYOUTS, Layout, Zone
from jepabench.envs.maze.maze_env import BallMazeEnv
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.factors import Factor

RANDOM = "random"
SUCCESS_DISTANCE = 0.45
MAX_SPEED = 5.0
_WALL_HEIGHT = 0.4
_CLEARANCE = 0.2
_VIEW_MARGIN = 0.2
_CRUISE_SPEED, _CORNER_SPEED, _APPROACH_RATE = 2.5, 1.0, 4.0  # of the expert [m/s, m/s, 1/s]
_SETTLING_STEPS, _STEPS_PER_METRE = 10, 45  # that the expert needs, rounded up


class PointMaze(BallMazeEnv):
    """A force-controlled ball moves through a maze to a goal.

    ## Description

    Physics, mazes and success rule are those of Gymnasium-Robotics' PointMaze (v3): the same
    actions give bit-identical positions and velocities. Starts, goals, budgets, frames and random
    mazes are defined by JEPA Bench.

    ## Action space

    | index | action | low | high | actuator | unit |
    |---|---|---|---|---|---|
    | 0 | force along x | -1 | 1 | ``force_x`` | 100 N |
    | 1 | force along y | -1 | 1 | ``force_y`` | 100 N |

    A control step takes 0.01 s. The ball has a mass of 4.19 kg. Each component of the velocity is
    clipped to 5 m/s before a step.

    ## Observation space

    | index | ``observation`` | joint | unit |
    |---|---|---|---|
    | 0 | position x | ``ball_x`` | m |
    | 1 | position y | ``ball_y`` | m |
    | 2 | velocity x | ``ball_x`` | m/s |
    | 3 | velocity y | ``ball_y`` | m/s |
    | 4 to 27 | random mazes only: 1 if a passage is open, else 0 | | |

    ``achieved_goal`` and ``desired_goal`` are positions ``[x, y]`` of the ball [m]. Frames show the
    maze from above with +y up. The ball is drawn larger than its collision radius of 0.1 m, and
    keep-out zones are yellow.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the straight-line distance to the goal [m].

    ## Starting state

    The ball starts at rest at a uniformly random position with 0.2 m of clearance, outside all
    keep-out zones. The goal is drawn in the same way; the shortest path to it has the length of the
    stratum. A random maze has 4 x 4 rooms. There are 40 mazes in ``train``, and no maze occurs in
    two splits.

    ## Success

    The ball's centre is within 0.45 m of the goal, at any speed.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    In addition to the arguments of ``GoalEnv``:

    * ``layout``: ``umaze``, ``medium``, ``large``, or ``random`` for a new maze in each episode.
    * ``zones``: keep-out rectangles ``(x_min, y_min, x_max, y_max)`` [m] that replace those of the
      layout; ``()`` for none. ``info["violation"]`` is True while the ball's centre is inside one.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    success_distance = SUCCESS_DISTANCE

    def __init__(
        self, task: TaskSpec, *, layout: str, zones: Sequence[Zone] | None = None, **kwargs: Any
    ) -> None:
        if layout not in (*LAYOUTS, RANDOM):
            raise unknown_name("layout", layout, (*LAYOUTS, RANDOM))
        self._passages = diverse.training_mazes()[0] if layout == RANDOM else np.empty(0)
        super().__init__(
            task,
            action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
            observation_size=4 + len(self._passages),
            goal_size=2,
            **kwargs,
        )
        self._zones = zones
        self._build(diverse.maze(self._passages) if layout == RANDOM else LAYOUTS[layout])

    def _build(self, maze: Layout) -> None:
        self.layout, inner = maze, maze.half_size - 1.0
        spec = load("point_maze.xml")
        spec.geom("floor").size[:2] = maze.half_size
        spec.geom("ball_drawn").size[0] = maze.drawn_radius
        # A box for each cell gives the published mazes their contacts to the last bit; few boxes
        # are cast and compiled faster.
        for box in maze.merged_boxes() if len(self._passages) else maze.wall_boxes():
            add_box(spec.worldbody, box, (0.0, _WALL_HEIGHT), WALL_COLOUR)
        self.arena = Arena(
            spec,
            zones=maze.zones if self._zones is None else self._zones,
            extent=2.0 * (float(inner.max()) + _VIEW_MARGIN),
            checker=0.5,
        )
        self.simulation = self.arena.simulation
        self.variations.renew()
        bounds = np.concatenate([-inner, inner])
        self.free_space = FreeSpace(
            bounds=bounds, boxes=maze.obstacle_boxes(), clearance=_CLEARANCE
        )

    def steer(self, path: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the action [2], held for a block, that follows ``path`` [K, 2] to its end."""
        model, velocity = self.simulation.model, self.simulation.data.qvel
        to_corner = path[0] - self.arena.position
        distance = float(np.linalg.norm(to_corner))
        remaining = distance + float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
        speed = min(
            _CRUISE_SPEED, _APPROACH_RATE * remaining, _CORNER_SPEED + _APPROACH_RATE * distance
        )
        wanted = to_corner * (speed / max(distance, 1e-9))
        mass, damping, gear = (
            model.body("ball").mass[0],
            model.dof_damping[0],
            model.actuator_gear[0, 0],
        )
        block = self.task.action_block * self.task.control_dt
        force = mass * (wanted - velocity) / block + damping * (wanted + velocity) / 2.0
        return (force / gear).clip(-1.0, 1.0)

    def _factors(self) -> tuple[Factor, ...]:
        ball = self.arena.ball
        return (
            *self.arena.factors(self.free_space.bounds),
            ball.size(),
            ball.mass(),
            ball.damping(),
        )

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        world = {"passages": diverse.draw_passages(rng, split=split)} if len(self._passages) else {}
        self._set_world(world)
        shortest, longest = self.layout.strata[stratum]
        start, goal, length = self.free_space.sample_pair(
            rng, shortest=shortest, longest=longest, avoid=self.arena.zones
        )
        reference_steps = _SETTLING_STEPS + int(np.ceil(_STEPS_PER_METRE * length))
        return EpisodeDraw(
            self.arena.state_at(start), self.arena.state_at(goal), reference_steps, world
        )

    def _set_world(self, world: Mapping[str, NDArray[Any]]) -> None:
        passages = world.get("passages", self._passages)
        if not np.array_equal(passages, self._passages):
            self._passages = passages
            self._build(diverse.maze(passages))

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        data = self.simulation.data
        np.clip(data.qvel, -MAX_SPEED, MAX_SPEED, out=data.qvel)
        data.ctrl[:] = action
        self.simulation.step()

    def _observation_names(self) -> tuple[str, ...]:
        return (
            *("ball x", "ball y", "ball velocity x", "ball velocity y"),
            *(f"passage {number}" for number in range(len(self._passages))),
        )

    def _observation(self) -> NDArray[np.float64]:
        return np.concatenate(
            [self.simulation.data.qpos, self.simulation.data.qvel, self._passages]
        )
