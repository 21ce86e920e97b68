"""Simulated time agrees with the spec, and the simulation stays stable."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from jepabench.envs.checks.fingerprint import fixed_actions
from jepabench.envs.checks.subject import Subject, require
from jepabench.envs.core.goal_env import GoalEnv

_DEPTH = 8
_EVERY, _STABLE_STEPS, _HOLD = 10, 300, 10
_TOLERANCE, _DECIMALS = 1e-4, 5


def check_time(subject: Subject) -> str:
    """Compare ``control_dt`` with the time that a control step takes in MuJoCo."""
    env = subject.make()
    env.reset(seed=0)
    clocks = find_mujoco_objects(env, mujoco.MjData)
    dt = subject.task.control_dt
    taken: set[float] = set()
    for action in fixed_actions(env)[::_EVERY]:
        before = [data.time for data in clocks]
        env.advance(action[None], pixels=False)
        passed = [data.time - start for data, start in zip(clocks, before, strict=True)]
        taken |= {round(seconds / dt, _DECIMALS) for seconds in passed if seconds > 0.0}
    if not taken:
        return "no MuJoCo clock to compare with"
    if len(taken) > 1:
        return f"a control step takes {min(taken) * dt:.3g} to {max(taken) * dt:.3g} s"
    seconds = taken.pop() * dt
    require(
        abs(seconds - dt) <= _TOLERANCE * dt,
        f"control_dt is {dt:g} s, but a control step simulates {seconds:.4g} s.",
    )
    return f"a control step simulates {dt:g} s"


def find_mujoco_objects(env: GoalEnv, kind: type) -> list[Any]:
    """Return the ``MjData`` or ``MjModel`` objects that an environment holds, also indirectly."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    layer: list[Any] = [env, getattr(env, "simulation", None)]
    for _ in range(_DEPTH):
        following: list[Any] = []
        for item in layer:
            if isinstance(item, kind):
                found[id(item)] = item
            elif id(item) not in seen and not isinstance(item, type):
                seen.add(id(item))
                following += getattr(item, "__dict__", {}).values()
        layer = following
    return list(found.values())


def check_stability(subject: Subject) -> str:
    """Take extreme actions, and require that MuJoCo gave no warning here or in another check."""
    env = subject.make()
    rng = np.random.default_rng(0)
    env.reset(seed=0, options={"stratum": subject.task.strata[-1]})
    corners = rng.integers(0, 2, (_STABLE_STEPS // _HOLD, *env.action_space.shape))
    low, high = env.action_space.low, env.action_space.high
    for corner in corners:
        actions = np.repeat((low + (high - low) * corner)[None], _HOLD, axis=0)
        observation, *_ = env.advance(actions, pixels=False)
        finite = all(np.isfinite(value).all() for value in observation.values())
        require(finite, "observations are not finite under extreme actions.")
        if subject.simulator_warnings:
            break
    warnings = subject.simulator_warnings
    require(not warnings, f"MuJoCo warned: {warnings[0].strip() if warnings else ''}")
    return f"no warning in {_STABLE_STEPS} steps of extreme actions"
