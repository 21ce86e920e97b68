"""Random places for a pusher and a block that touch neither each other nor the walls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.pusht.shapes import Shape, turned
from jepabench.envs.pusht.simulation import PLACEMENT_SIZE, PUSHER_RADIUS, WALL_RADIUS, WALLS

_CLEARANCE = 12.0  # that both keep from the walls and from each other [px]
_LOW, _HIGH = WALLS[0] + WALL_RADIUS + _CLEARANCE, WALLS[1] - WALL_RADIUS - _CLEARANCE
_BATCH = 16
_MAX_BATCHES = 1000


def free_placement(rng: np.random.Generator, shape: Shape) -> NDArray[np.float64]:
    """Return a random placement [7] at rest with clearance for block and pusher.

    Raises:
        ValueError: The block does not fit between the walls.
    """
    for _ in range(_MAX_BATCHES):
        angle = rng.uniform(-np.pi, np.pi)
        blocks = block_places(rng, shape, angle)[:1]
        pushers = [pusher_places(rng, shape, block, angle) for block in blocks]
        if len(blocks) and len(pushers[0]):
            placement = np.zeros(PLACEMENT_SIZE)
            placement[:2], placement[4:6], placement[6] = pushers[0][0], blocks[0], angle
            return placement
    raise ValueError(f"The shape {shape.name!r} does not fit between the walls. Make it smaller.")


def block_places(
    rng: np.random.Generator,
    shape: Shape,
    angle: float,
    *,
    pusher: tuple[float, float] | None = None,
) -> NDArray[np.float64]:
    """Return random positions [>= 0, 2] of a block at an angle [rad].

    They are clear of the walls, and of the pusher if one is given.
    """
    places = rng.uniform(_LOW, _HIGH, (_BATCH, 2))
    corners = turned(shape.corners.reshape(-1, 2), angle)
    fits = ((corners.min(axis=0) + places > _LOW) & (corners.max(axis=0) + places < _HIGH)).all(
        axis=1
    )
    if pusher is not None:
        fits &= ~shape.contains(
            turned(np.array(pusher) - places, -angle), margin=PUSHER_RADIUS + _CLEARANCE
        )
    return places[fits]


def pusher_places(
    rng: np.random.Generator, shape: Shape, block: NDArray[np.float64], angle: float
) -> NDArray[np.float64]:
    """Return random positions [>= 0, 2] of a pusher.

    They are clear of the walls and of a block at ``block`` [2] and an angle [rad].
    """
    places = rng.uniform(_LOW + PUSHER_RADIUS, _HIGH - PUSHER_RADIUS, (_BATCH, 2))
    return places[
        ~shape.contains(turned(places - block, -angle), margin=PUSHER_RADIUS + _CLEARANCE)
    ]
