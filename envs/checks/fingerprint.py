"""A fixed trace of a world, and its hash: what two instances, processes or versions are compared by."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core import GoalEnv, Observation, reset_to
from jepabench.envs.registry import TaskSpec, make, register
from jepabench.envs.splits import EpisodeSpec

TRACE_STEPS = 60
TRACE_PIXELS = 64
_HOLD = 5
_DECIMALS = 6
_TIMEOUT = 300  # [s]


def fixed_actions(env: GoalEnv, *, seed: int = 0) -> NDArray[np.float64]:
    """Returns uniform control actions [TRACE_STEPS, A], each held for a few steps."""
    space = env.action_space
    choices = np.random.default_rng(seed).random((TRACE_STEPS // _HOLD, *space.shape))
    return (space.low + (space.high - space.low) * choices).repeat(_HOLD, axis=0)


def fixed_trace(env: GoalEnv, *, seed: int = 0) -> list[Observation]:
    """Returns the observations of an episode of the farthest stratum under ``fixed_actions`` [TRACE_STEPS + 1]."""
    observation, _ = reset_to(env, EpisodeSpec(env.task.id, "train", env.task.strata[-1], seed))
    return [observation, *(env.step(action)[0] for action in fixed_actions(env, seed=seed))]


def digest(
    observations: Iterable[Mapping[str, NDArray[Any]]], *, decimals: int | None = None
) -> str:
    """Returns SHA-256 of all arrays, exact to the byte or with the numbers rounded."""
    result = hashlib.sha256()
    for observation in observations:
        for key, value in observation.items():
            array = np.ascontiguousarray(value)
            if decimals is not None and array.dtype.kind == "f":
                array = np.round(array, decimals) + 0.0  # adding 0 makes zero of minus zero
            result.update(key.encode() + array.tobytes())
    return result.hexdigest()


def fingerprint(task_id: str) -> str:
    """Returns a hash of the fixed trace and its frames; it changes when physics, episodes or pictures change.

    Numbers count to 1e-6, which other processors and builds of the simulator should keep.
    """
    return digest(fixed_trace(make(task_id, pixels=TRACE_PIXELS)), decimals=_DECIMALS)[:16]


def digests_elsewhere(tasks: Iterable[TaskSpec]) -> list[str]:
    """Returns the exact digest of each task's fixed trace as a new process computes it.

    Raises:
        RuntimeError: the process failed; the message is the last line that it wrote.
    """
    child = subprocess.run(
        [sys.executable, "-m", "jepabench.envs.checks.fingerprint"],
        input=pickle.dumps(list(tasks)),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)},
        check=False,
        timeout=_TIMEOUT,
    )
    if child.returncode:
        reason = child.stderr.decode().strip().splitlines() or [f"exit code {child.returncode}"]
        raise RuntimeError(f"Another process cannot play it: {reason[-1]}")
    return pickle.loads(child.stdout)


def _answer() -> None:
    tasks, results = pickle.loads(sys.stdin.buffer.read()), []
    answer, sys.stdout = sys.stdout, sys.stderr  # a world that prints must not spoil the answer
    for task in tasks:
        register(task)
        results.append(digest(fixed_trace(make(task.id, pixels=TRACE_PIXELS))))
    answer.buffer.write(pickle.dumps(results))


if __name__ == "__main__":
    _answer()
