"""Checks of what an agent returns. A violation of the contract names the agent and the episode."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.evaluation.traces import Imagination


class AgentError(RuntimeError):
    """An agent violated its contract; the message names the agent and the episode."""


def check_actions(actions: Any, shape: tuple[int, ...], source: str) -> NDArray[np.float32]:
    """Return actions as an array [B, A].

    Args:
        actions: What the agent returned.
        shape: (B, A).
        source: Name of the agent and its episodes, for the message.

    Raises:
        AgentError: The actions are not numbers or have another shape.
    """
    try:
        array = np.asarray(actions, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise AgentError(f"{source}: actions are not an array of numbers: {error}") from error
    if array.shape != shape:
        raise AgentError(
            f"{source}: actions must have shape {list(shape)} [episodes, action], "
            f"got {list(array.shape)}."
        )
    return array


def check_model_steps(steps: Any, count: int, source: str) -> NDArray[np.int64]:
    """Return the model steps of ``count`` episodes as an array [B].

    Raises:
        AgentError: They are not ``count`` whole numbers of at least 0.
    """
    array = np.asarray(steps)
    whole = np.issubdtype(array.dtype, np.integer)
    if array.shape != (count,) or not whole or (array < 0).any():
        raise AgentError(
            f"{source}: model_steps must have one count per episode, int64 [{count}], "
            f"got {steps!r}."
        )
    return array


def check_imagination(imagined: Any, source: str) -> Imagination | None:
    """Return what ``imagined`` of an agent returned, or None if it is empty.

    Raises:
        AgentError: The steps or the frames have another type or shape.
    """
    if imagined is None or len(imagined[0]) == 0:
        return None
    steps, frames = np.asarray(imagined[0]), np.asarray(imagined[1])
    fits = (
        steps.ndim == 1 and frames.ndim == 5 and len(steps) == len(frames) and frames.shape[-1] == 3
    )
    if not fits or not np.issubdtype(steps.dtype, np.integer) or frames.dtype != np.uint8:
        raise AgentError(
            f"{source}: imagined() must return steps [P] and uint8 frames [P, H, s, s, 3], got "
            f"{steps.dtype} {list(steps.shape)} and {frames.dtype} {list(frames.shape)}."
        )
    return Imagination(steps.astype(np.int64), frames.copy())
