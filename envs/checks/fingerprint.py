"""A fixed trace of an environment and its hash, to compare instances, processes and versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.checks.new_process import call_in_new_process
from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.registry import find_module, make, register_in_new_process
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.envs.task import TaskSpec

TRACE_STEPS = 60
TRACE_PIXELS = 64
_HOLD = 5
_DECIMALS = 6
_TIMEOUT = 300.0  # [s]


def fixed_actions(env: GoalEnv, *, seed: int = 0) -> NDArray[np.float64]:
    """Return uniform control actions [TRACE_STEPS, A], each held for a few steps."""
    space = env.action_space
    choices = np.random.default_rng(seed).random((TRACE_STEPS // _HOLD, *space.shape))
    return (space.low + (space.high - space.low) * choices).repeat(_HOLD, axis=0)


def fixed_trace(env: GoalEnv, *, seed: int = 0) -> list[Observation]:
    """Return the TRACE_STEPS + 1 observations of an episode under ``fixed_actions``.

    The episode is of the last stratum; ``seed`` is its index in the training split.
    """
    spec = EpisodeSpec(env.task.id, "train", env.task.strata[-1], seed)
    observation, _ = reset_to(env, spec)
    return [observation, *(env.step(action)[0] for action in fixed_actions(env, seed=seed))]


def digest(
    observations: Iterable[Mapping[str, NDArray[Any]]], *, decimals: int | None = None
) -> str:
    """Return the SHA-256 of all arrays, of their exact bytes or of rounded numbers."""
    result = hashlib.sha256()
    for observation in observations:
        for key, value in observation.items():
            array = np.ascontiguousarray(value)
            if decimals is not None and array.dtype.kind == "f":
                array = np.round(array, decimals) + 0.0  # adding 0 turns minus zero into zero
            result.update(key.encode() + array.tobytes())
    return result.hexdigest()


def fingerprint(task_id: str) -> str:
    """Return a hash of the fixed trace that changes with physics, episodes and images.

    Numbers are rounded to 1e-6, so that other processors and builds of the simulator agree.
    """
    return digest(fixed_trace(make(task_id, pixels=TRACE_PIXELS)), decimals=_DECIMALS)[:16]


def compute_digests_in_new_process(tasks: Iterable[TaskSpec]) -> list[str]:
    """Return the exact digest of each task's fixed trace as a new process computes it.

    Raises:
        NewProcessError: The process failed.
    """
    known = [(task, find_module(task)) for task in tasks]
    return call_in_new_process(f"{__name__}:compute_digests", known, timeout=_TIMEOUT)


def compute_digests(tasks: Iterable[tuple[TaskSpec, str]]) -> list[str]:
    """Register tasks, each with its module, and return the exact digests of their traces."""
    for task, module in tasks:
        register_in_new_process(task, module)
    return [digest(fixed_trace(make(task.id, pixels=TRACE_PIXELS))) for task, _ in tasks]
