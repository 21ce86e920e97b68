"""TwoRoom: a ball that moves by small displacements through the door between two rooms."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.maze.arena import Arena, load
from jepabench.envs.maze.layouts import Zone
from jepabench.envs.maze.maze_env import BallMazeEnv
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.factors import Factor, Value

SUCCESS_DISTANCE = 0.1
STEP_LENGTH = 0.05
STRATA = {"near": (0.15, 0.5), "medium": (0.5, 1.2), "far": (1.2, 6.0)}
ZONES: tuple[Zone, ...] = ((-0.8, -0.25, -0.5, 0.25), (0.5, -0.25, 0.8, 0.25))
FIXED_LAYOUT = (0.0, 0.3)
WALL_RANGE, DOOR_RANGE = (-0.3, 0.3), (-0.65, 0.65)
_CELLS = 10  # of the layout grid, along each side
_HELD_OUT_SHARE = 4  # one in this many cells is held out from training
_HELD_OUT = ("test", "validation", "private")
ROOM = np.array([-1.0, -1.0, 1.0, 1.0])
_VIEW = 2.2
HALF_WALL, HALF_DOOR, HALF_LENGTH = 0.05, 0.2, 1.0  # as in the XML
CLEARANCE = 0.08
_SUBSTEPS = 10
_SETTLING_STEPS = 5  # that the expert needs beyond the length of the path


class TwoRoom(BallMazeEnv):
    """A ball moves to a goal in a room of 2 m x 2 m that a wall with a door divides.

    ## Description

    The setting follows the Two-Rooms and Wall tasks of PLDM and DINO-WM. MuJoCo resolves contacts:
    the ball slides along walls and never passes through them. Only its position carries over from
    one step to the next.

    ## Action space

    | index | action | low | high | unit |
    |---|---|---|---|---|
    | 0 | displacement along x | -1 | 1 | 0.05 m |
    | 1 | displacement along y | -1 | 1 | 0.05 m |

    An action longer than 1 is scaled to length 1. A control step takes 0.1 s.

    ## Observation space

    | index | ``observation`` | name in the XML | unit |
    |---|---|---|---|
    | 0 | position x | joint ``ball_x`` | m |
    | 1 | position y | joint ``ball_y`` | m |
    | 2 | x of the wall's middle | bodies ``wall_below``, ``wall_above`` | m |
    | 3 | y of the door's middle | bodies ``wall_below``, ``wall_above`` | m |

    ``achieved_goal`` and ``desired_goal`` are positions ``[x, y]`` of the ball [m]. Frames show the
    room from above with +y up. The ball (radius 0.06 m) is drawn slightly larger, and keep-out
    zones are yellow.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the straight-line distance to the goal [m].

    ## Starting state

    The ball starts at a uniformly random position with 0.08 m of clearance, outside all keep-out
    zones. The goal is drawn in the same way; the shortest path to it has the length of the stratum.
    With a random layout, wall and door are drawn from the cells of a grid. Each split has cells of
    its own.

    ## Success

    The ball's centre is within 0.1 m of the goal.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    In addition to the arguments of ``GoalEnv``:

    * ``random_layout``: whether wall and door are drawn anew for each episode.
    * ``zones``: keep-out rectangles ``(x_min, y_min, x_max, y_max)`` [m]; ``()`` for none.
      ``info["violation"]`` is True while the ball's centre is inside one.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    success_distance = SUCCESS_DISTANCE

    def __init__(
        self,
        task: TaskSpec,
        *,
        random_layout: bool = False,
        zones: Sequence[Zone] = ZONES,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            task,
            action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
            observation_size=4,
            goal_size=2,
            **kwargs,
        )
        self.random_layout, self.step_length = random_layout, STEP_LENGTH
        self.arena = Arena(self._description(), zones=zones, extent=_VIEW, checker=0.25)
        self.simulation = self.arena.simulation
        self._place_wall(np.array(FIXED_LAYOUT))

    def _description(self) -> mujoco.MjSpec:
        return load("two_room.xml")

    def steer(self, path: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the action [2], held for a block, towards the first point of ``path`` [K, 2]."""
        action = (path[0] - self.arena.position) / (self.step_length * self.task.action_block)
        return action / max(1.0, float(np.linalg.norm(action)))

    def _factors(self) -> tuple[Factor, ...]:
        def apply(value: Value) -> None:
            self.step_length = float(value[0])

        step_length = Factor(
            name="step_length",
            description="displacement by an action of length 1",
            unit="m",
            default=self.step_length,
            apply=apply,
            allowed=(0.01, 0.1),
            mild=(0.045, 0.055),
            hard=(0.03, 0.07),
        )
        return (
            *self.arena.factors(self.free_space.bounds),
            self.arena.ball.size(hard=(0.7, 1.25)),
            step_length,
        )

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        layout = draw_layout(rng, split=split) if self.random_layout else np.array(FIXED_LAYOUT)
        shortest, longest = STRATA[stratum]
        start, goal, length = free_space(layout).sample_pair(
            rng, shortest=shortest, longest=longest, avoid=self.arena.zones
        )
        return self._make_draw(start, goal, length, {"layout": layout})

    def _make_draw(
        self,
        start: NDArray[np.float64],
        goal: NDArray[np.float64],
        length: float,
        world: Mapping[str, NDArray[Any]],
    ) -> EpisodeDraw:
        """Return an episode from ``start`` [2] to ``goal`` [2] along a path of ``length`` [m]."""
        reference_steps = _SETTLING_STEPS + int(np.ceil(length / STEP_LENGTH))
        return EpisodeDraw(
            self.arena.state_at(start), self.arena.state_at(goal), reference_steps, world
        )

    def _set_world(self, world: Mapping[str, NDArray[Any]]) -> None:
        if (world["layout"] != self._layout).any():
            self._place_wall(world["layout"])

    def _place_wall(self, layout: NDArray[np.float64]) -> None:
        self._layout = layout
        self.free_space = free_space(layout)
        wall_x, door_y = layout
        offset = HALF_DOOR + HALF_LENGTH
        self.simulation.model.body("wall_below").pos[:] = wall_x, door_y - offset, 0.0
        self.simulation.model.body("wall_above").pos[:] = wall_x, door_y + offset, 0.0
        self.arena.camera.invalidate()

    def _step_physics(self, action: NDArray[np.float64]) -> None:
        data = self.simulation.data
        length = max(1.0, float(np.sqrt((action * action).sum())))
        data.qvel[:] = action * (self.step_length / (length * self.task.control_dt))
        self.simulation.step(_SUBSTEPS)
        # The position alone is the state: neither speed nor the solver's memory of a contact is
        # carried over.
        data.qvel[:] = 0.0
        data.qacc_warmstart[:] = 0.0

    def _observation_names(self) -> tuple[str, ...]:
        return ("ball x", "ball y", "wall x", "door y")

    def _observation(self) -> NDArray[np.float64]:
        return np.concatenate([self.simulation.data.qpos, self._layout])


def draw_layout(rng: np.random.Generator, *, split: str) -> NDArray[np.float64]:
    """Return ``[wall_x, door_y]`` [m], uniform over the cells of ``split``."""
    cells = _cells(split)
    place = np.array(divmod(cells[rng.integers(len(cells))], _CELLS)) + rng.random(2)
    low, high = np.transpose([WALL_RANGE, DOOR_RANGE])
    return low + (high - low) * place / _CELLS


def find_split(layout: NDArray[np.float64]) -> str:
    """Return the split that ``[wall_x, door_y]`` belongs to."""
    low, high = np.transpose([WALL_RANGE, DOOR_RANGE])
    column, row = (
        np.floor((layout - low) / (high - low) * _CELLS).clip(0, _CELLS - 1).astype(int).tolist()
    )
    return _cell_split(column * _CELLS + row)


def free_space(layout: NDArray[np.float64]) -> FreeSpace:
    """Return where the ball fits with the wall and the door at ``[wall_x, door_y]``."""
    wall_x, door_y = layout
    left, right = wall_x - HALF_WALL, wall_x + HALF_WALL
    below, above = door_y - HALF_DOOR, door_y + HALF_DOOR
    walls = np.array(
        [
            [left, below - 2.0 * HALF_LENGTH, right, below],
            [left, above, right, above + 2.0 * HALF_LENGTH],
        ]
    )
    return FreeSpace(bounds=ROOM, boxes=walls, clearance=CLEARANCE)


@functools.cache
def _cells(split: str) -> tuple[int, ...]:
    return tuple(cell for cell in range(_CELLS**2) if _cell_split(cell) == split)


def _cell_split(cell: int) -> str:
    held_out, choice = hashlib.sha256(f"TwoRoom|{cell}".encode()).digest()[:2]
    return "train" if held_out % _HELD_OUT_SHARE else _HELD_OUT[choice % len(_HELD_OUT)]
