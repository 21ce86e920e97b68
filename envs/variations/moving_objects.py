"""Objects that events can move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MovingObject:
    """Something that moves, as events see it.

    Its factors ``<name>_hidden``, ``<name>_double``, ``<name>_shape`` and ``<name>_colour``, as far as the world declares
    them (``jepabench.envs.mujoco_world.scenery.Thing``), make it vanish, appear, change and be recoloured.

    Attributes:
        name: of the object.
        get_motion: gives pose and velocity; the first two numbers are its place x, y.
        set_motion: puts it into a motion, and changes nothing else.
        sample: draws some places where it may be, one or more [N, 2].
        extent: side of the area in which it moves, in the unit of places.
        is_free: which places [N, 2] it may take, [N]; only where there are walls.
        in_wall: which places [N, 2] are inside a wall, [N]; only where there are walls.
    """

    name: str
    get_motion: Callable[[], NDArray[np.float64]]
    set_motion: Callable[[NDArray[np.float64]], object]
    sample: Callable[[np.random.Generator], NDArray[np.float64]]
    extent: float
    is_free: Callable[[NDArray[np.float64]], NDArray[np.bool_]] | None = None
    in_wall: Callable[[NDArray[np.float64]], NDArray[np.bool_]] | None = None
