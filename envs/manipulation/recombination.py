"""Reach with a half of the workspace in which training data never move to one side."""

from __future__ import annotations

from typing import Any

import numpy as np

from jepabench.envs.core.withheld import Withheld
from jepabench.envs.manipulation.arm import STEP, WORKSPACE_HIGH, WORKSPACE_LOW
from jepabench.envs.manipulation.reach import SETTLING_STEPS, Reach
from jepabench.envs.task import EpisodeDraw, TaskSpec

AXIS = 1  # y
SHORTEST_MOVE = 0.15  # along y, between start and goal [m]
LONGEST_WAY = 0.3  # between start and goal [m]
_LOW = np.where(np.arange(3) == AXIS, 0.0, WORKSPACE_LOW[:3])  # of the half with y > 0
_HIGH = WORKSPACE_HIGH[:3]


class ReachRecombination(Reach):
    """``Reach`` with data that never move towards -y in the half of the workspace with y > 0.

    ## Description

    The behaviour that collects the data moves the gripper in every direction where y < 0, and in
    all directions but -y where y > 0. Positions with y > 0 and motion towards -y are each covered,
    but their combination is withheld. A world model that predicts it, and a policy that chooses
    it, must recombine what they have seen apart.

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
            start, goal = rng.uniform(WORKSPACE_LOW[:3], _HIGH, size=(2, 3))
        else:
            start, goal = self.withheld.draw_move(
                rng, stratum, low=_LOW, high=_HIGH, shortest=SHORTEST_MOVE, longest=LONGEST_WAY
            )
        steps = SETTLING_STEPS + int(np.ceil(np.linalg.norm(goal - start) / STEP[0]))
        return EpisodeDraw(self._rest_state(start), self._rest_state(goal), steps)
