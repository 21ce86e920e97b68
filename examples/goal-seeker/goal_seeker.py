"""An agent of another package. It imports nothing of JEPA Bench: an agent is anything with these three methods."""

from __future__ import annotations

import numpy as np


class GoalSeeker:
    """Steers straight at the goal and brakes, in worlds whose actions push or move a point in the plane. It knows of no walls.

    Args:
        task_id: given by JEPA Bench; a controller for every such world has no use for it.
        gain: action for each metre to the goal.
        braking: action against each metre that the last control step went.
    """

    # What it looks at. Anything with "pixels" in it would be of the pixel track.
    observation_keys = ("achieved_goal", "desired_goal")
    # What else it may use: no data, and nothing privileged.
    track = {"data": "none", "privilege": "none"}

    def __init__(self, *, task_id: str, gain: float = 4.0, braking: float = 20.0) -> None:
        self.gain, self.braking = gain, braking

    def reset(self, specs) -> None:
        """Starts B new episodes. ``spec.planner_seed`` is for agents that need noise."""
        self._steps = np.zeros(len(specs), dtype=np.int64)
        self._before: np.ndarray | None = None

    def act(self, observations, active) -> np.ndarray:
        """Returns an action for each of the B episodes; those that are not active are over."""
        here, goal = observations["achieved_goal"], observations["desired_goal"]
        moved = here - (here if self._before is None else self._before)
        self._before = here
        self._steps += active
        return np.clip(self.gain * (goal - here) - self.braking * moved, -1.0, 1.0).astype(
            np.float32
        )

    @property
    def model_steps(self) -> np.ndarray:
        """Steps of a world model that each episode has cost so far. A controller imagines nothing."""
        return np.zeros_like(self._steps)
