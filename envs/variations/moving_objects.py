"""Objects that events can move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MovingObject:
    """An object that events can move.

    A world may declare the factors ``<name>_hidden``, ``<name>_double``, ``<name>_shape`` and
    ``<name>_colour`` (``jepabench.envs.mujoco_world.scenery.Thing``). Events use them to hide,
    duplicate, change and recolour the object.

    Attributes:
        name: Name of the object.
        get_motion: Return pose and velocity; the first two numbers are the position x, y.
        set_motion: Set pose and velocity, and change nothing else.
        sample: Draw possible positions [N, 2], N >= 1.
        extent: Side of the area in which it moves, in the unit of positions.
        is_free: Return which positions [N, 2] it can take, [N]; None without walls.
        in_wall: Return which positions [N, 2] are inside a wall, [N]; None without walls.
    """

    name: str
    get_motion: Callable[[], NDArray[np.float64]]
    set_motion: Callable[[NDArray[np.float64]], object]
    sample: Callable[[np.random.Generator], NDArray[np.float64]]
    extent: float
    is_free: Callable[[NDArray[np.float64]], NDArray[np.bool_]] | None = None
    in_wall: Callable[[NDArray[np.float64]], NDArray[np.bool_]] | None = None
