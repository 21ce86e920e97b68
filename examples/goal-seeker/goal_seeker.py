"""Define an agent in its own package, without importing JEPA Bench.

An agent is any object with ``reset``, ``act`` and ``model_steps``.
"""

from __future__ import annotations

import numpy as np


class GoalSeeker:
    """Steer straight towards the goal and brake, ignoring walls.

    The actions of the environment must push or move a point in the plane.

    Args:
        task_id: passed by JEPA Bench; this controller does not need it.
        gain: action per metre of distance to the goal.
        braking: action per metre moved in the last control step, against the motion.
    """

    # Observations that the agent reads. A key with "pixels" would put it in the pixel track.
    observation_keys = ("achieved_goal", "desired_goal")
    # It uses no training data and no privileged information.
    track = {"data": "none", "privilege": "none"}

    def __init__(self, *, task_id: str, gain: float = 4.0, braking: float = 20.0) -> None:
        self.gain, self.braking = gain, braking

    def reset(self, specs) -> None:
        """Start B new episodes. Agents that need noise seed it with ``spec.planner_seed``."""
        self._steps = np.zeros(len(specs), dtype=np.int64)
        self._before: np.ndarray | None = None

    def act(self, observations, active) -> np.ndarray:
        """Return one action [B, A] per episode; finished episodes are not ``active``."""
        here, goal = observations["achieved_goal"], observations["desired_goal"]
        moved = here - (here if self._before is None else self._before)
        self._before = here
        self._steps += active
        return np.clip(self.gain * (goal - here) - self.braking * moved, -1.0, 1.0).astype(
            np.float32
        )

    @property
    def model_steps(self) -> np.ndarray:
        """World-model steps used so far by each episode [B]; always 0 for a controller."""
        return np.zeros_like(self._steps)
