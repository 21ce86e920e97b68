"""The PointMaze task of Gymnasium-Robotics, with its physics and observations.

It needs the extra ``robotics``.
"""

from __future__ import annotations

from collections import deque
from typing import cast

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.adapted.gymnasium_env import Adapted, adapt
from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.mujoco_world.camera import Camera

_STIFFNESS, _DAMPING = 12.0, 2.0

adapt(
    "adapted/PointMaze-UMaze-v1",
    "gymnasium_robotics:PointMaze_UMaze-v3",
    env_kwargs={"continuing_task": True, "reset_target": False},
    control_dt=0.01,
    action_block=10,
    max_steps=1000,
    success="The ball is within 0.45 m of the goal.",
    camera=Camera.overhead(extent=5.2),
    # The model shows the ball as a site, which the ray caster does not draw.
    colours={"particle_geom": (0.1, 0.3, 0.75, 1.0)},
    behaviours={"expert": "jepabench.envs.adapted.robotics:MazeExpert"},
    tags=("navigation",),
)


class MazeExpert:
    """Moves from cell to cell along a shortest path, and then to the goal."""

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        del rng
        self._maze = cast(Adapted, env).wrapped.unwrapped.maze  # pyright: ignore[reportAttributeAccessIssue]

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the force [2] towards the next cell."""
        here, goal = observation["achieved_goal"], observation["desired_goal"]
        path = self._path(here, goal)
        target = goal if len(path) < 3 else self._maze.cell_rowcol_to_xy(np.array(path[1]))
        force = _STIFFNESS * (target - here) - _DAMPING * observation["observation"][2:]
        return force.clip(-1.0, 1.0).astype(np.float32)

    def _path(self, here: NDArray[np.float64], goal: NDArray[np.float64]) -> list[tuple[int, int]]:
        """Return the cells of a shortest path from the ball to the goal (breadth-first search)."""
        first, last = (self._cell(place) for place in (here, goal))
        before, waiting = {last: last}, deque([last])
        while waiting and first not in before:
            row, column = waiting.popleft()
            for cell in (
                (row + 1, column),
                (row - 1, column),
                (row, column + 1),
                (row, column - 1),
            ):
                if cell not in before and self._maze.maze_map[cell[0]][cell[1]] != 1:
                    before[cell] = (row, column)
                    waiting.append(cell)
        path = [first]
        while path[-1] != last:
            path.append(before[path[-1]])
        return path

    def _cell(self, place: NDArray[np.float64]) -> tuple[int, int]:
        row, column = self._maze.cell_xy_to_rowcol(place)
        return int(row), int(column)
