"""The free positions of a disc among boxes, and shortest paths between them.

Among polygons, a shortest path is a straight line or bends only at corners (the visibility graph of
Lozano-Perez and Wesley, 1979). Path lengths are therefore exact, and a maze needs a few dozen
corners instead of a fine grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SLACK = 1e-6  # distance of corners from obstacles, so that paths along them are free [m]
_MAX_PUSHES = 8
_BATCH = 64
_MAX_BATCHES = 1000


class FreeSpace:
    """The places that the centre of a ball may take, and shortest paths between them.

    Args:
        bounds: ``[x_min, y_min, x_max, y_max]`` of the room [m].
        boxes: Obstacles [N, 4], in the same form; they may overlap.
        clearance: Distance that the centre keeps from bounds and boxes, along each axis [m].

    Attributes:
        bounds: That the centre keeps [m].
        walls: The obstacles as they are given [N, 4] [m].
    """

    def __init__(
        self, *, bounds: NDArray[np.float64], boxes: NDArray[np.float64], clearance: float
    ) -> None:
        grow = np.array([-1.0, -1.0, 1.0, 1.0])
        self.walls = boxes.reshape(-1, 4)
        self.bounds, self._boxes = (
            bounds - clearance * grow,
            boxes.reshape(-1, 4) + clearance * grow,
        )
        corners = (self._boxes + _SLACK * grow)[:, [[0, 1], [0, 3], [2, 1], [2, 3]]].reshape(-1, 2)
        self._corners = corners[self.contains(corners)]
        self._next, self._between = self._all_pairs()

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which of the points [N, 2] are free, [N]."""
        inside = ((points >= self.bounds[:2]) & (points <= self.bounds[2:])).all(axis=-1)
        return inside & ~in_boxes(points, self._boxes)

    def sample(
        self, rng: np.random.Generator, *, avoid: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return uniformly random free positions outside the boxes ``avoid`` [M, 4].

        The shape is [N, 2]; N >= 1 is random.

        Raises:
            ValueError: Hardly any place is free.
        """
        for _ in range(_MAX_BATCHES):
            points = rng.uniform(self.bounds[:2], self.bounds[2:], size=(_BATCH, 2))
            free = self.contains(points)
            if avoid is not None:
                free &= ~in_boxes(points, avoid)
            if free.any():
                return points[free]
        raise ValueError("There is no free position. Make the keep-out zones smaller.")

    def sample_pair(
        self,
        rng: np.random.Generator,
        *,
        shortest: float,
        longest: float,
        avoid: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return a random free start, a random free goal, and the length of the shortest path.

        The length is within the requested range.

        Args:
            rng: Where all randomness comes from.
            shortest: Length that the way exceeds [m].
            longest: Length that it does not exceed [m].
            avoid: Boxes [M, 4] that hold neither start nor goal.

        Raises:
            ValueError: Hardly any two places are so far apart.
        """
        for _ in range(_MAX_BATCHES):
            points = self.sample(rng, avoid=avoid)
            lengths = self.lengths(points[0], points)
            fitting = np.flatnonzero((lengths > shortest) & (lengths <= longest))
            if len(fitting):
                return points[0], points[fitting[0]], float(lengths[fitting[0]])
        raise ValueError(
            f"No two free positions have a path of {shortest} to {longest} m between them."
        )

    def nearest(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the free position next to ``point`` [2].

        A point inside an obstacle moves out through the nearest sides.
        """
        point = point.clip(self.bounds[:2], self.bounds[2:])
        for _ in range(_MAX_PUSHES):
            inside = np.flatnonzero(
                ((point > self._boxes[:, :2]) & (point < self._boxes[:, 2:])).all(axis=1)
            )
            if not len(inside):
                break
            box = self._boxes[inside[0]]
            side = int(np.concatenate([point - box[:2], box[2:] - point]).argmin())
            point[side % 2] = box[side] + (_SLACK if side >= 2 else -_SLACK)
        return point

    def visible(self, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether the straight line from ``start`` to ``end`` is free, [..., 2] to [...]."""
        start, end = start[..., None, :], end[..., None, :]
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1.0 / (end - start)
            low, high = (
                (self._boxes[:, :2] - start) * inverse,
                (self._boxes[:, 2:] - start) * inverse,
            )
        # Where a line runs on the edge of a box, 0 * inf gives NaN, which fmin and fmax skip: it
        # touches, it does not cross.
        enter = np.fmin(low, high).max(axis=-1)
        leave = np.fmax(low, high).min(axis=-1)
        return ~((enter < leave) & (leave > 0.0) & (enter < 1.0)).any(axis=-1)

    def lengths(
        self, start: NDArray[np.float64], goals: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the shortest path length [m] from ``start`` [2] to ``goals`` [N, 2].

        It is inf where there is no path.
        """
        straight = np.where(self.visible(start, goals), _norm(goals - start), np.inf)
        if not len(self._corners):
            return straight
        by_last_corner = (self._to_corners(start[None]).T + self._between).min(axis=0)
        return np.minimum(straight, (by_last_corner + self._to_corners(goals)).min(axis=1))

    def distances(
        self, points: NDArray[np.float64], goal: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the path length [m] from points [..., 2] to ``goal`` [2].

        Points in obstacles are moved to the nearest free position first.
        """
        free = np.array([self.nearest(point) for point in points.reshape(-1, 2)])
        return self.lengths(self.nearest(goal), free).reshape(points.shape[:-1])

    def path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the shortest path bends after ``start`` [2], and ``goal`` [2] last, [K, 2].

        Where there is no path it is the straight line.
        """
        if not len(self._corners) or self.visible(start, goal):
            return goal[None]
        total = self._to_corners(start[None]).T + self._between + self._to_corners(goal[None])
        first, last = np.unravel_index(int(total.argmin()), total.shape)
        if not np.isfinite(total[first, last]):
            return goal[None]
        bends = [int(first)]
        while bends[-1] != last:
            bends.append(int(self._next[bends[-1], last]))
        return np.vstack([self._corners[bends], goal])

    def _to_corners(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the straight distance from points [N, 2] to each visible corner, [N, C].

        It is inf for corners that are not visible.
        """
        seen = self.visible(points[:, None], self._corners)
        return np.where(seen, _norm(points[:, None] - self._corners), np.inf)

    def _all_pairs(self) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the next corner and the path length for all pairs of corners (Floyd-Warshall)."""
        count = len(self._corners)
        length = self._to_corners(self._corners)
        following = np.tile(np.arange(count), (count, 1))
        for middle in range(count):
            through = length[:, middle, None] + length[middle]
            shorter = through < length
            length = np.where(shorter, through, length)
            following = np.where(shorter, following[:, middle, None], following)
        return following, length


def in_boxes(points: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether each of the points [..., 2] is inside any of the boxes [N, 4]."""
    points = points[..., None, :]
    return np.asarray(((points > boxes[:, :2]) & (points < boxes[:, 2:])).all(axis=-1).any(axis=-1))


def _norm(offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt((offsets * offsets).sum(axis=-1))
