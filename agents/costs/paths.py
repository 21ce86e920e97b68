"""Lengths of piecewise linear paths in the plane, and positions on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def path_length(bends: NDArray[np.float64]) -> float:
    """Return the length [m] of a path [K, 2]."""
    return float(np.linalg.norm(np.diff(bends, axis=0), axis=1).sum())


def interpolate_path(
    bends: NDArray[np.float64], distances: NDArray[np.float64], *, end: bool = False
) -> NDArray[np.float64]:
    """Return the positions [N, 2] at ``distances`` [N] along a path [K, 2].

    Distances beyond the end of the path return its end. ``end`` appends the end of the path.
    """
    reached = np.concatenate([[0.0], np.linalg.norm(np.diff(bends, axis=0), axis=1).cumsum()])
    places = np.stack([np.interp(distances, reached, bends[:, axis]) for axis in (0, 1)], axis=1)
    return np.vstack([places, bends[-1:]]) if end else places
