"""Variations and events are undone by the next reset, and by restoring a snapshot."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

import mujoco
import numpy as np

from jepabench.envs.checks.conformance.physics import find_mujoco_objects
from jepabench.envs.checks.fingerprint import TRACE_PIXELS, digest, fixed_actions
from jepabench.envs.checks.subject import Subject, require
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.variations.events import EventError, inject, list_events

_FEW_STEPS = 6
_NUM_TRIES = 5


def check_variations(subject: Subject) -> str:
    """Apply each factor of variation, then compare the default environment with a new one."""
    env = subject.make(pixels=TRACE_PIXELS)
    fresh = _trace(subject.make(pixels=TRACE_PIXELS))
    factors = env.variations.factors
    model = _model_bytes(env)
    for factor in factors:
        value = "hard" if factor.hard is not None else factor.value(_highest(factor))
        varied = _trace(env, variation={factor.name: value})
        again = _trace(env, variation={factor.name: value})
        require(varied == again, f"factor {factor.name!r}: the same seed gives two variations.")
        require(
            _trace(env) == fresh,
            f"factor {factor.name!r} is not undone: the default environment differs after it.",
        )
        require(
            _model_bytes(env) == model,
            f"factor {factor.name!r} is not undone: the MuJoCo model differs after it.",
        )
    if factors:
        env.reset(seed=0, options={"variation": "hard"})
        state = env.snapshot()
        looks = digest([env.advance(np.empty((0, *env.action_space.shape)))[0]])
        restored = subject.make(pixels=TRACE_PIXELS).restore(state)
        require(digest([restored]) == looks, "a snapshot with variations looks different.")
    return f"{len(factors)} factors are undone by the next reset"


def _model_bytes(env: GoalEnv) -> list[bytes]:
    """Return the MuJoCo models of an environment, which hold masses and friction, as bytes."""
    env.reset(seed=0)
    found = []
    for model in find_mujoco_objects(env, mujoco.MjModel):
        buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
        mujoco.mj_saveModel(model, None, buffer)
        found.append(buffer.tobytes())
    return found


def _highest(factor) -> object:
    return np.broadcast_to(np.asarray(factor.allowed[1], np.float64), factor.size)


def _trace(env: GoalEnv, **options: object) -> str:
    observation, _ = env.reset(seed=0, options=options)
    actions = fixed_actions(env)[:_FEW_STEPS]
    return digest([observation, *(env.step(action)[0] for action in actions)])


def check_events(subject: Subject) -> str:
    """Inject each event, then compare restored and reset environments with the original."""
    env = subject.make(pixels=TRACE_PIXELS)
    fresh = _trace(subject.make(pixels=TRACE_PIXELS))
    events = list_events(subject.task.id)
    for event in events:
        env.reset(seed=0)
        state = env.snapshot()
        before = _continue(env)
        env.restore(state)
        _inject(env, event.name)
        env.advance(fixed_actions(env)[:_FEW_STEPS])
        env.restore(state)
        require(
            _continue(env) == before,
            f"event {event.name!r} is not undone by restoring an earlier snapshot.",
        )
        require(_trace(env) == fresh, f"event {event.name!r} is not undone by the next reset.")
    return f"{len(events)} events are undone by snapshots and resets"


def _inject(env: GoalEnv, name: str) -> None:
    for seed in range(_NUM_TRIES):
        try:
            inject(env, name, np.random.default_rng(seed))
        except EventError:  # it cannot happen at this moment
            continue
        return


def _continue(env: GoalEnv) -> str:
    actions = fixed_actions(env)
    return digest(
        [env.advance(actions[:0])[0], *(env.step(action)[0] for action in actions[:_FEW_STEPS])]
    )
