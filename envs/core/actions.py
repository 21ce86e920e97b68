"""Validation of actions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.world import World
from jepabench.envs.errors import InvalidActionError

_ROUNDING = 1e-5  # by which a float32 policy may exceed a bound


def check_actions(world: World, actions: NDArray[Any]) -> NDArray[np.float64]:
    """Return actions [K, A] as float64, clipped to the bounds.

    Raises:
        InvalidActionError: An action has the wrong shape, is not finite, or is out of bounds by
            more than rounding.
    """
    space, task_id = world.action_space, world.task.id
    if actions.shape[1:] != space.shape:
        raise InvalidActionError(
            f"{task_id}: an action must have shape {space.shape}, got {actions.shape[1:]}."
        )
    if actions.dtype.kind not in "fiub":
        raise InvalidActionError(
            f"{task_id}: an action must consist of real numbers, got {actions.dtype}."
        )
    values = actions.astype(np.float64)
    clipped = np.minimum(np.maximum(values, space.low), space.high)
    if not (np.abs(clipped - values) <= _ROUNDING).all():
        raise InvalidActionError(
            f"{task_id}: an action must be finite and within {space.low.tolist()} "
            f"to {space.high.tolist()}, got {values.tolist()}. Clip it first."
        )
    return clipped
