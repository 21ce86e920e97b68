"""Invalid actions are refused, and every entry of an action matters."""

from __future__ import annotations

import numpy as np

from jepabench.envs.checks.fingerprint import TRACE_STEPS, digest, fixed_actions
from jepabench.envs.checks.subject import CheckFailed, Subject, require
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.errors import InvalidActionError
from jepabench.envs.splits import EpisodeSpec, reset_to

_NUM_STEPS, _NUM_EPISODES = 10, 4


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
    """Require that every action entry that the expert uses has an effect.

    An entry that the expert leaves constant may be without effect: tasks of a family share one
    action space, and not every task needs all of it.
    """
    unused = _find_entries_without_effect(subject)
    for index in unused:
        require(
            index not in _find_entries_in_use(subject),
            f"entry {index} of the action has no effect in {_NUM_STEPS} steps, whether it is at "
            f"its lowest or its highest value, but {subject.best_behaviour!r} uses it.",
        )
    if unused:
        return f"all entries that the expert uses have an effect; entries {unused} have none"
    return "all entries have an effect"


def _find_entries_without_effect(subject: Subject) -> list[int]:
    env = subject.make()
    space = env.action_space
    reset_to(env, subject.specs(subject.task.strata[0])[0])
    state = env.snapshot()
    unused = []
    for index in range(space.shape[0]):
        found = set()
        for bound in (space.low, space.high):
            # Different values of the other entries: with all at zero, some may cancel this one.
            actions = np.array(fixed_actions(env)[:: TRACE_STEPS // _NUM_STEPS])
            actions[:, index] = bound[index]
            env.restore(state)
            observations = [env.step(action)[0] for action in actions]
            found.add(digest([*observations, {"physics": env.snapshot().physics}]))
        if len(found) == 1:
            unused.append(index)
    return unused


def _find_entries_in_use(subject: Subject) -> set[int]:
    """Return the entries of the action that the best behaviour varies in a few episodes."""
    env, stratum = subject.make(), subject.task.strata[0]
    actions = []
    for index in range(_NUM_EPISODES):
        spec = EpisodeSpec(subject.task.id, "train", stratum, index)
        observation, _ = reset_to(env, spec)
        behaviour = make_behaviour(subject.task, subject.best_behaviour)
        behaviour.reset(env, np.random.default_rng(spec.planner_seed))
        for _ in range(_NUM_STEPS):
            actions.append(behaviour.act(observation))
            observation, *_ = env.step(actions[-1])
    return set(np.flatnonzero(np.ptp(actions, axis=0)).tolist())
