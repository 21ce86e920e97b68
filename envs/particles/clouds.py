"""Sets of points whose order does not count: how far apart two of them are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS = 64  # that are compared at once, so that large batches need little memory


def as_points(goals: NDArray[Any]) -> NDArray[np.float64]:
    """Return flattened goals [..., 2 * N] as points [..., N, 2]."""
    goals = np.asarray(goals, np.float64)
    return goals.reshape(*goals.shape[:-1], -1, 2)


def chamfer_distance(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Return the Chamfer distance of two point sets, [..., N, 2] and [..., M, 2] to [...].

    It is the mean distance from a point to the nearest one of the other set, averaged over both
    directions (Fan, Su and Guibas 2017, here with distances instead of their squares, so that it is
    a length).
    """
    rows = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    first, second = (
        np.broadcast_to(points, rows + points.shape[-2:]) for points in (first, second)
    )
    first, second = (points.reshape(-1, *points.shape[-2:]) for points in (first, second))
    result = np.empty(len(first))
    for start in range(0, len(first), _ROWS):
        block = slice(start, start + _ROWS)
        result[block] = _chamfer(first[block], second[block])
    return result.reshape(rows)[()]


def paired_distance(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean distance of corresponding points, [..., N, 2] and [..., N, 2] to [...].

    The second row of points may also be counted from its other end; the smaller one of the two is
    returned.
    """
    offsets = np.stack([first - second, first - second[..., ::-1, :]])
    return np.sqrt((offsets * offsets).sum(axis=-1)).mean(axis=-1).min(axis=0)


def nearest(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distances to the nearest point of the other set, [N, 2], [M, 2] to [N], [M]."""
    squares = _squares(first[None], second[None])[0]
    return np.sqrt(squares.min(axis=1)), np.sqrt(squares.min(axis=0))


def _chamfer(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = _squares(first, second)
    there, back = (np.sqrt(squares.min(axis=axis)).mean(axis=-1) for axis in (2, 1))
    return 0.5 * (there + back)


def _squares(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    # The difference itself, not its expanded square: equal points are then exactly 0 apart.
    x, y = (first[:, :, None, axis] - second[:, None, :, axis] for axis in (0, 1))
    return x * x + y * y
