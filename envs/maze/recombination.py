"""TwoRoom with a room in which training data never move to the left."""

from __future__ import annotations

from typing import Any

import numpy as np

from jepabench.envs.core.withheld import Withheld
from jepabench.envs.maze.two_room import (
    CLEARANCE,
    FIXED_LAYOUT,
    HALF_WALL,
    ROOM,
    STRATA,
    TwoRoom,
    free_space,
)
from jepabench.envs.task import EpisodeDraw, TaskSpec

SHORTEST_MOVE = 0.5  # along x, between start and goal [m]
LONGEST_WAY = 1.0  # between start and goal [m]
_LAYOUT = np.array(FIXED_LAYOUT)
_LOW = np.array([HALF_WALL, ROOM[1]]) + CLEARANCE  # corners of the free part of the right room
_HIGH = ROOM[2:] - CLEARANCE


class TwoRoomRecombination(TwoRoom):
    """``TwoRoom`` with data that never move to the left in the right room.

    ## Description

    The behaviour that collects the data moves in every direction in the left room, and only to the
    right, up or down in the right room. Positions in the right room and motion to the left are
    each covered, but their combination is withheld. A world model that predicts it, and a policy
    that chooses it, must recombine what they have seen apart.

    ## Observation space

    | index | ``observation`` | name in the XML | unit |
    |---|---|---|---|
    | 0 | position x | joint ``ball_x`` | m |
    | 1 | position y | joint ``ball_y`` | m |
    | 2 | x of the wall's middle, always 0 | bodies ``wall_below``, ``wall_above`` | m |
    | 3 | y of the door's middle, always 0.3 | bodies ``wall_below``, ``wall_above`` | m |

    ``achieved_goal`` and ``desired_goal`` are positions ``[x, y]`` of the ball [m]. Frames show the
    room from above with +y up. The world has no keep-out zones.

    ## Starting state

    In the training split, start and goal are uniform over both rooms whatever the stratum. In the
    other splits they are in one room, at least 0.5 m apart along x and at most 1 m apart:

    * ``seen-state``: in the right room, and the goal is to the right of the start.
    * ``seen-action``: in the left room, and the goal is to the left. These episodes are drawn as
      mirror images of ``seen-state``.
    * ``withheld``: in the right room, and the goal is to the left. These are drawn as
      ``seen-state`` with start and goal exchanged. Every solution moves to the left in the right
      room by at least 0.4 m.

    ## Arguments

    The world takes the arguments of ``GoalEnv``.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    def __init__(self, task: TaskSpec, **kwargs: Any) -> None:
        super().__init__(task, zones=(), **kwargs)
        self.withheld = Withheld(axis=0, boundary=FIXED_LAYOUT[0])

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        if split == "train":
            start, goal, length = free_space(_LAYOUT).sample_pair(
                rng, shortest=STRATA["near"][0], longest=STRATA["far"][1]
            )
        else:
            start, goal = self.withheld.draw_move(
                rng, stratum, low=_LOW, high=_HIGH, shortest=SHORTEST_MOVE, longest=LONGEST_WAY
            )
            length = float(np.linalg.norm(goal - start))
        return self._make_draw(start, goal, length, {"layout": _LAYOUT})
