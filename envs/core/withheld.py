"""Combinations of state and action that training data lack, to test recombination.

Data avoid motion back along one axis beyond a boundary. They contain every position beyond the
boundary and every action, but never both together. An agent that reaches a goal further back must
combine what it has only seen apart. The idea of withholding pairs whose two parts are each covered
follows AnyGoal (arXiv 2610.26844).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEEN_STATE, SEEN_ACTION, WITHHELD = STRATA = ("seen-state", "seen-action", "withheld")
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Withheld:
    """Motion back along an axis, at positions beyond a boundary.

    Attributes:
        axis: Number of the coordinate, the same in positions and actions.
        boundary: Positions with a larger coordinate are beyond it [m].
    """

    axis: int
    boundary: float

    def is_beyond(self, positions: NDArray[Any]) -> NDArray[np.bool_]:
        """Return whether positions [..., P] are beyond the boundary, [...]."""
        return np.asarray(positions[..., self.axis] > self.boundary)

    def contains(self, positions: NDArray[Any], actions: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which pairs of a position [..., P] and an action [..., A] are withheld, [...]."""
        return self.is_beyond(positions) & (actions[..., self.axis] < 0.0)

    def redirect(
        self, position: NDArray[np.float64], action: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the action [A] that data contain instead of ``action`` [A] at a position [P].

        The part of a withheld action that points back is removed.
        """
        if not self.contains(position, action):
            return action
        allowed = action.copy()
        allowed[self.axis] = 0.0
        return allowed

    def draw_move(
        self,
        rng: np.random.Generator,
        stratum: str,
        *,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        shortest: float,
        longest: float,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return start [P] and goal [P] of an episode of a stratum [m].

        Args:
            rng: Source of the positions.
            stratum: One of ``STRATA``. ``SEEN_ACTION`` mirrors a draw at the boundary, and
                ``WITHHELD`` exchanges start and goal.
            low, high: Corners [P] of the part of the world that is beyond the boundary [m].
            shortest: Smallest distance along the axis [m].
            longest: Largest distance between start and goal [m].
        """
        while True:
            near, far = rng.uniform(low, high, size=(2, _BATCH, len(low)))
            ahead = far[:, self.axis] - near[:, self.axis]
            close = np.linalg.norm(far - near, axis=1) <= longest
            fitting = np.flatnonzero(close & (ahead >= shortest))
            if len(fitting):
                break
        near, far = near[fitting[0]], far[fitting[0]]
        if stratum == SEEN_STATE:
            return near, far
        if stratum == SEEN_ACTION:
            return self._mirror(near), self._mirror(far)
        return far, near

    def _mirror(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        mirrored = position.copy()
        mirrored[self.axis] = 2.0 * self.boundary - position[self.axis]
        return mirrored
