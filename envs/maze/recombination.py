"""TwoRoom with a room in which training data never move to the left."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.withheld import SEEN_ACTION, SEEN_STATE, Withheld
from jepabench.envs.maze.two_room import (
    CLEARANCE,
    FIXED_LAYOUT,
    HALF_WALL,
    ROOM,
    SETTLING_STEPS,
    STEP_LENGTH,
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
_BATCH = 64


class TwoRoomRecombination(TwoRoom):
    """``TwoRoom`` with data that never move to the left in the right room.

    ## Description

    The behaviour that collects the data moves in every direction in the left room, and only to the
    right, up or down in the right room. Positions in the right room and motion to the left are
    each covered, but their combination is withheld. A world model that predicts it, and a policy
    that chooses it, must recombine what they have seen apart.

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
    | 2 | x of the wall's middle, always 0 | bodies ``wall_below``, ``wall_above`` | m |
    | 3 | y of the door's middle, always 0.3 | bodies ``wall_below``, ``wall_above`` | m |

    ``achieved_goal`` and ``desired_goal`` are positions ``[x, y]`` of the ball [m]. Frames show the
    room from above with +y up. The world has no keep-out zones.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the straight-line distance to the goal [m].

    ## Starting state

    In the training split, start and goal are uniform over both rooms whatever the stratum. In the
    other splits they are in one room, at least 0.5 m apart along x and at most 1 m apart:

    * ``seen-state``: in the right room, and the goal is to the right of the start.
    * ``seen-action``: in the left room, and the goal is to the left. These episodes are drawn as
      mirror images of ``seen-state``.
    * ``withheld``: in the right room, and the goal is to the left. These are drawn as
      ``seen-state`` with start and goal exchanged. Every solution moves to the left in the right
      room by at least 0.4 m.

    ## Success

    The ball's centre is within 0.1 m of the goal.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

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
            start, goal = _draw_move(rng, stratum)
            length = float(np.linalg.norm(goal - start))
        return EpisodeDraw(
            self.arena.state_at(start),
            self.arena.state_at(goal),
            SETTLING_STEPS + int(np.ceil(length / STEP_LENGTH)),
            {"layout": _LAYOUT},
        )


def _draw_move(
    rng: np.random.Generator, stratum: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return start [2] and goal [2] of an episode of a stratum."""
    while True:
        left, right = rng.uniform(_LOW, _HIGH, size=(2, _BATCH, 2))
        apart = np.linalg.norm(right - left, axis=1) <= LONGEST_WAY
        fitting = np.flatnonzero(apart & (right[:, 0] - left[:, 0] >= SHORTEST_MOVE))
        if len(fitting):
            break
    left, right = left[fitting[0]], right[fitting[0]]
    if stratum == SEEN_STATE:
        return left, right
    if stratum == SEEN_ACTION:
        mirror = np.array([-1.0, 1.0])
        return mirror * left, mirror * right
    return right, left
