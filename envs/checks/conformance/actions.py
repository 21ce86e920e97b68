"""Invalid actions are refused, and every entry of an action matters."""

from __future__ import annotations

import numpy as np

from jepabench.envs.checks.fingerprint import digest
from jepabench.envs.checks.subject import CheckFailed, Subject, require
from jepabench.envs.errors import InvalidActionError
from jepabench.envs.splits import reset_to

_NUM_STEPS = 10


def check_invalid(subject: Subject) -> str:
    """Require that invalid actions are refused and leave the environment unchanged."""
    env = subject.make()
    space = env.action_space
    zero = np.zeros(space.shape).clip(space.low, space.high)
    try:
        env.step(zero)
    except RuntimeError:
        env.reset(seed=0)
    else:
        raise CheckFailed("an action before reset() is accepted.")
    state = env.snapshot()
    invalid = {
        "NaN": zero * np.nan,
        "infinity": zero + np.inf,
        "out of bounds": space.high + 1.0,
        "wrong shape": zero[:-1],
    }
    for what, action in invalid.items():
        try:
            env.step(action)
        except InvalidActionError:
            now = env.snapshot()
            unchanged = np.array_equal(now.physics, state.physics) and now.num_steps == 0
            require(unchanged, f"{what}: the action was refused, but the environment changed.")
        else:
            raise CheckFailed(f"{what}: the action is accepted.")
    env.step(zero)
    return f"{', '.join(invalid)} and early ones are refused"


def check_dimensions(subject: Subject) -> str:
    """Require that the lowest and the highest value of every action entry lead elsewhere."""
    env = subject.make()
    space = env.action_space
    reset_to(env, subject.specs(subject.task.strata[0])[0])
    state = env.snapshot()
    for index in np.ndindex(space.shape):
        found = set()
        for bound in (space.low, space.high):
            action = np.zeros(space.shape).clip(space.low, space.high)
            action[index] = bound[index]
            env.restore(state)
            observation, *_ = env.advance(np.repeat(action[None], _NUM_STEPS, axis=0))
            found.add(digest([observation]))
        require(
            len(found) == 2,
            f"entry {index[0]} of the action has no effect on the observation in {_NUM_STEPS} "
            f"steps, whether it is {space.low[index]:g} or {space.high[index]:g}.",
        )
    return f"all {int(np.prod(space.shape))} entries have an effect"
