"""Goal shapes: areas that loose particles fill, and curves that a row of particles follows.

No shape occurs in two splits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]

# An area is a union of boxes ``(x_min, y_min, x_max, y_max)`` around the origin, or a disc if there
# are none.
AREAS: Mapping[str, tuple[Box, ...]] = {
    "square": ((-1.0, -1.0, 1.0, 1.0),),
    "bar": ((-3.0, -1.0, 3.0, 1.0),),
    "L": ((-1.0, -1.0, 1.0, 5.0), (-1.0, -1.0, 5.0, 1.0)),
    "cross": ((-3.0, -1.0, 3.0, 1.0), (-1.0, -3.0, 1.0, 3.0)),
    "disc": (),
    "T": ((-3.0, -1.0, 3.0, 1.0), (-1.0, -5.0, 1.0, 1.0)),
    "line": ((-5.0, -1.0, 5.0, 1.0),),
    "rectangle": ((-2.0, -1.0, 2.0, 1.0),),
    "wide T": ((-5.0, -1.0, 5.0, 1.0), (-1.0, -3.0, 1.0, 1.0)),
    "dagger": ((-3.0, -1.0, 3.0, 1.0), (-1.0, -5.0, 1.0, 2.0)),
    "slab": ((-4.0, -1.0, 4.0, 1.0),),
    "tall cross": ((-2.0, -1.0, 2.0, 1.0), (-1.0, -4.0, 1.0, 4.0)),
    "J": ((-4.0, -1.0, 1.0, 1.0), (-1.0, -1.0, 1.0, 3.0)),
}
AREAS_OF_SPLIT = {
    "train": ("square", "bar", "L", "cross"),
    "validation": ("slab", "tall cross", "J"),
    "test": ("disc", "T", "line"),
    "private": ("rectangle", "wide T", "dagger"),
}

# A curve is its direction [rad] at shares 0 to 1 of its length.
CURVES: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "line": np.zeros_like,
    "arc": lambda share: np.pi * share,
    "wave": lambda share: 1.1 * np.cos(2.0 * np.pi * share),
    "L": lambda share: np.floor(2.0 * share) * np.pi / 2.0,
    "U": lambda share: np.floor(3.0 * share) * np.pi / 2.0,
    "Z": lambda share: np.floor(3.0 * share) % 2.0 * 2.1,
    "hook": lambda share: 2.0 * np.pi * np.maximum(share - 0.5, 0.0),
    "V": lambda share: np.floor(2.0 * share) * 2.0,
    "S": lambda share: np.pi * np.minimum(2.0 * share, 2.0 - 2.0 * share),
    "stairs": lambda share: np.floor(4.0 * share) % 2.0 * np.pi / 2.0,
    "sickle": lambda share: 0.8 * np.pi * share * share,
    "W": lambda share: np.floor(4.0 * share) % 2.0 * 2.1,
    "step": lambda share: np.floor(3.0 * share) % 2.0 * np.pi / 2.0,
}
CURVES_OF_SPLIT = {
    "train": ("line", "arc", "wave", "L"),
    "validation": ("sickle", "W", "step"),
    "test": ("U", "Z", "hook"),
    "private": ("V", "S", "stairs"),
}
# The number of a shape is its index here. Episodes record it, so new shapes go to the end.
SHAPES = (
    *("square", "bar", "L", "cross", "disc", "T", "line", "arc", "wave", "U", "Z", "hook"),
    *("rectangle", "wide T", "dagger", "V", "S", "stairs"),
    *("slab", "tall cross", "J", "sickle", "W", "step"),
)
_LATTICE = (
    40  # rows of the lattice to either side of the origin; enough for a few hundred particles
)


def fill(area: str, num: int, *, spacing: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ``num`` points of a hexagonal lattice that fill an area, [num, 2] [m].

    Args:
        area: Key of ``AREAS``; its size is what ``num`` particles need.
        num: Number of places.
        spacing: Distance between neighbours [m].
        rng: Decides how the area is turned, and how the lattice lies in it.
    """
    lattice = hexagonal_lattice(_LATTICE, spacing) + rng.uniform(0.0, spacing, 2)
    inmost = np.argsort(_gauge(lattice, AREAS[area]), kind="stable")[:num]
    return rotate(lattice[inmost], rng)


def trace(headings: NDArray[np.float64], *, spacing: float) -> NDArray[np.float64]:
    """Return points [K + 1, 2] at distance ``spacing`` [m] along ``headings`` [K] [rad]."""
    steps = spacing * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def rotate(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return points [N, 2] turned about the origin by a uniform random angle."""
    angle = rng.uniform(-np.pi, np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = points.T
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def place(
    points: NDArray[np.float64], rng: np.random.Generator, *, limit: float
) -> NDArray[np.float64] | None:
    """Return points [N, 2] moved to a random position within -limit to limit [m].

    The result is None if they do not fit.
    """
    low, high = -limit - points.min(axis=0), limit - points.max(axis=0)
    if (low > high).any():
        return None
    return points + rng.uniform(low, high)


def hexagonal_lattice(num_rows: int, spacing: float) -> NDArray[np.float64]:
    """Return a lattice with ``num_rows`` rows and columns on each side of the origin, [K, 2]."""
    steps = np.arange(-num_rows, num_rows + 1)
    column, row = (grid.ravel() for grid in np.meshgrid(steps, steps))
    return spacing * np.stack([column + 0.5 * (row % 2), row * np.sqrt(0.75)], axis=-1)


def _gauge(points: NDArray[np.float64], boxes: tuple[Box, ...]) -> NDArray[np.float64]:
    """Return the scale at which the shape reaches points (Minkowski functional), [N]."""
    if not boxes:
        return np.hypot(*points.T)
    low, high = np.split(np.array(boxes)[:, None], 2, axis=-1)
    return np.maximum(points / low, points / high).max(axis=-1).min(axis=0)
