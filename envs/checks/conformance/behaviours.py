"""Behaviours are reproducible and leave the environment alone."""

from __future__ import annotations

import numpy as np

from jepabench.envs.checks.fingerprint import digest
from jepabench.envs.checks.new_process import call_in_new_process
from jepabench.envs.checks.subject import Subject, require
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.data.behaviour import Behaviour, make_behaviour
from jepabench.envs.registry import find_module, make, register_in_new_process
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.envs.task import TaskSpec

_NUM_STEPS = 40
_TIMEOUT = 300.0  # [s]


def check_behaviours(subject: Subject) -> str:
    """Repeat each behaviour from one seed: with new and used objects, and in a new process."""
    task = subject.task
    there = call_in_new_process(
        f"{__name__}:trace_behaviours", task, find_module(task), timeout=_TIMEOUT
    )
    env = subject.make()
    for name in task.behaviours:
        here = _trace(env, make_behaviour(task, name))
        require(
            _trace(env, make_behaviour(task, name)) == here,
            f"{name!r} acts differently when it is repeated from the same seed.",
            "Draw from the rng given to reset(), never from np.random or random.",
        )
        require(
            there[name] == here,
            f"{name!r} acts differently in another process.",
            "Do not depend on np.random, hash(), set order, time or global state.",
        )
        used = make_behaviour(task, name)
        _trace(env, used, index=1)
        require(
            _trace(env, used) == here,
            f"{name!r} acts differently after another episode.",
            "Reset everything that the behaviour remembers in reset().",
        )
        _check_leaves_env_alone(env, name)
    return f"{', '.join(task.behaviours)} can be repeated, also in another process"


def trace_behaviours(task: TaskSpec, module: str) -> dict[str, str]:
    """Return a digest of the actions of each behaviour, for a new process."""
    register_in_new_process(task, module)
    env = make(task.id)
    return {name: _trace(env, make_behaviour(task, name)) for name in task.behaviours}


def _trace(env: GoalEnv, behaviour: Behaviour, *, index: int = 0) -> str:
    """Return a digest of the first actions of a behaviour in an episode."""
    spec = EpisodeSpec(env.task.id, "train", env.task.strata[0], index)
    observation, _ = reset_to(env, spec)
    behaviour.reset(env, np.random.default_rng(spec.planner_seed))
    actions = []
    for _ in range(_NUM_STEPS):
        actions.append({"action": np.asarray(behaviour.act(observation))})
        observation, *_ = env.step(actions[-1]["action"])
    return digest(actions)


def _check_leaves_env_alone(env: GoalEnv, name: str) -> None:
    spec = EpisodeSpec(env.task.id, "train", env.task.strata[0], 0)
    observation, _ = reset_to(env, spec)
    behaviour = make_behaviour(env.task, name)
    behaviour.reset(env, np.random.default_rng(spec.planner_seed))
    for _ in range(_NUM_STEPS):
        before = env.snapshot()
        action = behaviour.act(observation)
        after = env.snapshot()
        require(
            np.array_equal(before.physics, after.physics, equal_nan=True)
            and (before.num_steps, before.rng) == (after.num_steps, after.rng),
            f"{name!r} changes the environment when it chooses an action.",
            "Look at the environment only, or restore a snapshot before act() returns.",
        )
        observation, *_ = env.step(action)
