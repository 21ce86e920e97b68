"""A whole trace of actions at once: what each control step came to, without making an observation of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core import GoalEnv


class Retraced(NamedTuple):
    """What T control steps came to, each [T]: the three success rules, the distance to the goal, and broken keep-out rules."""

    successes: NDArray[np.bool_]
    joint: NDArray[np.bool_]
    strict: NDArray[np.bool_]
    distances: NDArray[np.float64]
    violations: NDArray[np.bool_]


def retrace(env: GoalEnv, actions: NDArray[Any]) -> Retraced:
    """Takes control steps [T, A] in a world that was just reset, several times as fast as ``step`` one after the other.

    All of them are judged together in the end, so a distance may differ from that of ``step`` in its last bit.

    Raises:
        InvalidActionError: as ``GoalEnv.step``, before any step is taken.
    """
    checked = env._checked(np.asarray(actions))
    desired = env._desired_goal
    achieved = np.empty((len(checked), *desired.shape))
    violations = np.empty(len(checked), dtype=np.bool_)
    for step, action in enumerate(checked):
        env._take_step(action)
        env._num_steps += 1
        achieved[step] = env._achieved_goal()
        violations[step] = env._violated()
    if type(env)._judge is GoalEnv._judge:
        successes = np.asarray(env.is_success(achieved, desired))
        return Retraced(
            successes, successes, successes, np.asarray(env.distance(achieved, desired)), violations
        )
    judged = [env._judge(goal) for goal in achieved]
    successes, joint, strict = (
        np.array([info.get(name, info["is_success"]) for info in judged], dtype=np.bool_)
        for name in ("is_success", "success_joint", "success_strict")
    )
    return Retraced(
        successes, joint, strict, np.array([info["distance"] for info in judged]), violations
    )
