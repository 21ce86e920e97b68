"""Reach with a half of the workspace in which training data never move to one side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.withheld import SEEN_ACTION, SEEN_STATE, Withheld
from jepabench.envs.manipulation.arm import STEP, WORKSPACE_HIGH, WORKSPACE_LOW
from jepabench.envs.manipulation.reach import SETTLING_STEPS, Reach
from jepabench.envs.task import EpisodeDraw, TaskSpec

AXIS = 1  # y
SHORTEST_MOVE = 0.15  # along y, between start and goal [m]
LONGEST_WAY = 0.3  # between start and goal [m]
_BATCH = 64
_MIRROR = np.array([1.0, -1.0, 1.0])


class ReachRecombination(Reach):
    """``Reach`` with data that never move towards -y in the half of the workspace with y > 0.

    ## Description

    The behaviour that collects the data moves the gripper in every direction where y < 0, and in
    all directions but -y where y > 0. Positions with y > 0 and motion towards -y are each covered,
    but their combination is withheld. A world model that predicts it, and a policy that chooses
    it, must recombine what they have seen apart.

    ## Action space

    | index | action | low | high | unit |
    |---|---|---|---|---|
    | 0, 1, 2 | displacement of the gripper along x, y, z | -1 | 1 | 0.025 m |
    | 3 | change of its yaw | -1 | 1 | 0.15 rad |
    | 4 | none: the gripper stays closed | -1 | 1 | |

    A control step takes 0.05 s. Displacements accumulate in a commanded pose, as in ``Reach``.

    ## Observation space

    | index | ``observation`` | name in the XML | unit |
    |---|---|---|---|
    | 0, 1, 2 | position of the gripper | site ``gripper`` | m |
    | 3 | its yaw | site ``gripper`` | rad |
    | 4 | gap between its fingers | joints ``left_finger``, ``right_finger`` | m |
    | 5 to 10 | joint angles | joints ``shoulder_pan`` to ``wrist_3`` | rad |
    | 11 to 16 | joint velocities | the same | rad/s |
    | 17 to 21 | commanded pose minus pose (indices 0 to 4) | | m, rad, m |

    ``achieved_goal`` and ``desired_goal`` are positions ``[x, y, z]`` of the gripper [m].

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the straight-line distance to the goal [m].

    ## Starting state

    In the training split, the gripper starts at rest at a uniformly random position of the
    workspace whatever the stratum, and so does the goal. In the other splits start and goal are in
    one half of the workspace, at least 0.15 m apart along y and at most 0.3 m apart:

    * ``seen-state``: in the half with y > 0, and the goal has the larger y.
    * ``seen-action``: in the half with y < 0, and the goal has the smaller y. These episodes are
      drawn as mirror images of ``seen-state``.
    * ``withheld``: in the half with y > 0, and the goal has the smaller y. These are drawn as
      ``seen-state`` with start and goal exchanged. Every solution moves towards -y in this half by
      at least 0.12 m.

    ## Success

    The gripper is within 0.03 m of the goal.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    The world takes the arguments of ``GoalEnv``.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    def __init__(self, task: TaskSpec, **kwargs: Any) -> None:
        super().__init__(task, **kwargs)
        self.withheld = Withheld(axis=AXIS, boundary=0.0)

    def _draw_episode(self, rng: np.random.Generator, *, stratum: str, split: str) -> EpisodeDraw:
        if split == "train":
            start, goal = rng.uniform(WORKSPACE_LOW[:3], WORKSPACE_HIGH[:3], size=(2, 3))
        else:
            start, goal = _draw_move(rng, stratum)
        steps = SETTLING_STEPS + int(np.ceil(np.linalg.norm(goal - start) / STEP[0]))
        return EpisodeDraw(self._rest_state(start), self._rest_state(goal), steps)


def _draw_move(
    rng: np.random.Generator, stratum: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return start [3] and goal [3] of an episode of a stratum."""
    low = WORKSPACE_LOW[:3].copy()
    low[AXIS] = 0.0
    while True:
        near, far = rng.uniform(low, WORKSPACE_HIGH[:3], size=(2, _BATCH, 3))
        apart = np.linalg.norm(far - near, axis=1) <= LONGEST_WAY
        fitting = np.flatnonzero(apart & (far[:, AXIS] - near[:, AXIS] >= SHORTEST_MOVE))
        if len(fitting):
            break
    near, far = near[fitting[0]], far[fitting[0]]
    if stratum == SEEN_STATE:
        return near, far
    if stratum == SEEN_ACTION:
        return _MIRROR * near, _MIRROR * far
    return far, near
