"""Equal seeds and actions give equal bytes: across episodes, instances, processes, snapshots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.checks.fingerprint import (
    TRACE_PIXELS,
    TRACE_STEPS,
    compute_digests_in_new_process,
    digest,
    fixed_actions,
    fixed_trace,
)
from jepabench.envs.checks.subject import CheckFailed, Subject, require
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.splits import EpisodeSpec, reset_to

_USE_EPISODES, _USE_STEPS, _LONG_STEPS = 40, 5, 400
_CONTINUED_STEPS = 15
_MOMENTS = (0.25, 0.5, 0.75, 1.0)  # shares of an episode at which snapshots are taken
_MOST_STEPS = 150  # of the expert, for snapshots


def check_seeds(subject: Subject) -> str:
    """Compare new and used instances, and resets with and without a seed."""
    first, second = (digest(fixed_trace(subject.make(pixels=TRACE_PIXELS))) for _ in range(2))
    require(first == second, "two instances with the same seed and actions differ.")
    env = subject.make(pixels=TRACE_PIXELS)
    fixed_trace(env, seed=1)
    again = digest(fixed_trace(env))
    require(again == first, "an instance that has played another episode before differs.")
    require(digest(fixed_trace(env, seed=1)) != first, "two seeds give the same episode.")
    draws = [_draw(env, seed=0)] + [_draw(env, seed=None) for _ in range(3)]
    require(
        len(set(draws)) == len(draws),
        "reset() without a seed repeats an episode.",
        "Do not override reset(), or pass its seed on: None continues the random stream.",
    )
    return "new and used instances agree byte by byte"


def _draw(env: GoalEnv, *, seed: int | None) -> bytes:
    env.reset(seed=seed)
    return env.draw.start.tobytes() + env.draw.goal.tobytes()


def check_long_use(subject: Subject) -> str:
    """Compare an instance after many episodes and steps with a new one."""
    fresh = digest(fixed_trace(subject.make(pixels=TRACE_PIXELS)))
    env = subject.make(pixels=TRACE_PIXELS)
    actions = fixed_actions(env)
    no_frames = np.arange(_USE_STEPS)
    for number in range(_USE_EPISODES):
        stratum = subject.task.strata[number % len(subject.task.strata)]
        reset_to(env, EpisodeSpec(subject.task.id, "train", stratum, number))
        env.advance(actions[no_frames], pixels=False)
    for start in range(0, _LONG_STEPS, TRACE_STEPS):
        env.advance(actions[: min(TRACE_STEPS, _LONG_STEPS - start)], pixels=False)
    require(
        digest(fixed_trace(env)) == fresh,
        f"an instance differs from a new one after {_USE_EPISODES} episodes and "
        f"{_USE_EPISODES * _USE_STEPS + _LONG_STEPS} steps.",
    )
    return f"{_USE_EPISODES} episodes and {_LONG_STEPS} steps leave no trace"


def check_instances(subject: Subject) -> str:
    """Interleave two instances and compare one of them with an instance that runs alone."""
    alone = digest(fixed_trace(subject.make()))
    env, other = subject.make(), subject.make()
    task, stratum = subject.task.id, subject.task.strata[-1]
    observation, _ = reset_to(env, EpisodeSpec(task, "train", stratum, 0))
    observations = [observation]
    reset_to(other, EpisodeSpec(task, "train", stratum, 1))
    for action in fixed_actions(env):
        observations.append(env.step(action)[0])
        other.step(-action if other.action_space.contains(-action) else action)
    require(digest(observations) == alone, "two instances in one process affect each other.")
    return "two instances do not affect each other"


def check_processes(subject: Subject) -> str:
    """Compare with the same trace in a new process."""
    here = digest(fixed_trace(subject.make(pixels=TRACE_PIXELS)))
    (there,) = compute_digests_in_new_process([subject.task])
    require(here == there, "another process computes other numbers or frames.")
    return "another process agrees byte by byte"


def check_snapshots(subject: Subject) -> str:
    """Restore snapshots of random steps and of the expert, in the same and in a new instance."""
    env, other = (subject.make(pixels=TRACE_PIXELS) for _ in range(2))
    actions = fixed_actions(env)
    reset_to(env, subject.specs(subject.task.strata[-1])[0])
    env.advance(actions[: TRACE_STEPS // 2])
    _require_continues([env, other], env, actions[TRACE_STEPS // 2 :], "random steps")
    _check_expert_snapshots(subject)
    return "the same and another instance continue byte by byte"


def _require_continues(
    instances: Sequence[GoalEnv], env: GoalEnv, actions: NDArray[np.float64], when: str
) -> None:
    """Require that every instance, restored to the state of ``env``, continues like ``env``."""
    state = env.snapshot()
    before = digest([env.advance(actions[:0])[0]])
    after = digest(env.step(action)[0] for action in actions)
    for restored in instances:
        looks = digest([restored.restore(state)])
        require(looks == before, f"a restored environment looks different after {when}.")
        again = digest(restored.step(action)[0] for action in actions)
        if again != after:
            raise CheckFailed(f"a restored environment continues differently after {when}.")


def _check_expert_snapshots(subject: Subject) -> None:
    """Take snapshots before and after success, where contacts and grasps occur."""
    env = subject.make()
    spec = subject.specs(subject.task.strata[0])[0]
    observation, _ = reset_to(env, spec)
    behaviour = make_behaviour(subject.task, subject.best_behaviour)
    behaviour.reset(env, np.random.default_rng(spec.planner_seed))
    actions = []
    since_success = 0
    while len(actions) < min(env.budget, _MOST_STEPS) and since_success < _CONTINUED_STEPS:
        actions.append(behaviour.act(observation))
        observation, *_, info = env.step(actions[-1])
        since_success += info["is_success"]
    actions, following = np.array(actions, np.float64), fixed_actions(env)[:_CONTINUED_STEPS]
    for moment in _MOMENTS:
        number = round(moment * len(actions))
        reset_to(env, spec)
        env.advance(actions[:number])
        _require_continues([subject.make()], env, following, f"{number} steps of the expert")
