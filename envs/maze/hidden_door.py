"""TwoRoom with two doors, one of which is locked by a hidden coin toss."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.maze.arena import WALL_COLOUR, add_box
from jepabench.envs.maze.two_room import (
    CLEARANCE,
    HALF_DOOR,
    HALF_LENGTH,
    HALF_WALL,
    ROOM,
    STRATA,
    TwoRoom,
)
from jepabench.envs.task import EpisodeDraw

DOORS = (-0.5, 0.5)  # y of their middles [m]
_HEIGHT = 0.1
_DETOUR = DOORS[1] - DOORS[0]  # from one door to the other [m]
_NOT_DRAWN = (0.0, 0.0, 0.0, 0.0)


class HiddenDoor(TwoRoom):
    """``TwoRoom`` with two doors, one of which is locked without any visible sign.

    ## Description

    Neither the observation nor the frames show which door is locked. Before the ball has tried a
    door, no deterministic prediction of the outcome can be right: there are two outcomes, and their
    mean is neither of them. A model with a latent variable can represent both. The same door stays
    locked for the whole episode.

    ## Observation space

    | index | ``observation`` | name in the XML | unit |
    |---|---|---|---|
    | 0 | position x | joint ``ball_x`` | m |
    | 1 | position y | joint ``ball_y`` | m |
    | 2 | x of the wall's middle, always 0 | body ``wall_between`` | m |
    | 3 | y of the middle between the doors, always 0 | body ``wall_between`` | m |

    ``achieved_goal`` and ``desired_goal`` are positions ``[x, y]`` of the ball [m]. Frames show the
    room from above with +y up. Both doors, at y = -0.5 m and y = 0.5 m, look open.

    ## Starting state

    Start and goal are drawn as in ``TwoRoom``, with paths through the open door. A fair coin
    decides which door is open. The budget leaves time for a detour through the other door.

    ## Arguments

    The world takes the arguments of ``GoalEnv``, and ``zones`` as in ``TwoRoom``.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    def _description(self) -> mujoco.MjSpec:
        spec = super()._description()
        heights = (-_HEIGHT, _HEIGHT)
        between = np.array([-HALF_WALL, DOORS[0] + HALF_DOOR, HALF_WALL, DOORS[1] - HALF_DOOR])
        add_box(spec.worldbody.add_body(name="wall_between"), between, heights, WALL_COLOUR)
        shutter = np.array([-HALF_WALL, -HALF_DOOR, HALF_WALL, HALF_DOOR])
        add_box(spec.worldbody.add_body(name="shutter"), shutter, heights, _NOT_DRAWN)
        return spec

    def _observation_names(self) -> tuple[str, ...]:
        return ("ball x", "ball y", "wall x", "doors y")

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        del split  # there is one layout
        coin = rng.random()  # the number, not its side, so that no two episodes have the same world
        shortest, longest = STRATA[stratum]
        start, goal, length = free_space(_shut_door(coin)).sample_pair(
            rng, shortest=shortest, longest=longest, avoid=self.arena.zones
        )
        return self._make_draw(start, goal, length + _DETOUR, {"coin": np.array([coin])})

    def _set_world(self, world: Mapping[str, NDArray[Any]]) -> None:
        self._shut(_shut_door(float(world["coin"][0])))

    def _place_wall(self, layout: NDArray[np.float64]) -> None:
        self._layout = np.zeros_like(layout)
        body = self.simulation.model.body
        body("wall_below").pos[:] = 0.0, DOORS[0] - HALF_DOOR - HALF_LENGTH, 0.0
        body("wall_above").pos[:] = 0.0, DOORS[1] + HALF_DOOR + HALF_LENGTH, 0.0
        self._shut(0)
        self.arena.camera.invalidate()

    def _shut(self, door: int) -> None:
        self.free_space = free_space(door)
        self.simulation.model.body("shutter").pos[:] = 0.0, DOORS[door], 0.0


def _shut_door(coin: float) -> int:
    return int(coin < 0.5)


@functools.cache
def free_space(shut: int) -> FreeSpace:
    """Return where the ball fits when the door number ``shut``, 0 below or 1 above, is shut."""
    opening = DOORS[1 - shut]
    x = HALF_WALL
    walls = [[-x, -2.0, x, opening - HALF_DOOR], [-x, opening + HALF_DOOR, x, 2.0]]
    return FreeSpace(bounds=ROOM, boxes=np.array(walls), clearance=CLEARANCE)
