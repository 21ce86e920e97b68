"""Observations have the declared types, are copies, and do not reveal the goal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jepabench.envs.checks.fingerprint import (
    TRACE_PIXELS,
    TRACE_STEPS,
    digest,
    fixed_actions,
    fixed_trace,
)
from jepabench.envs.checks.subject import Subject, require, require_in_space
from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.splits import reset_to

_FEW_STEPS = 10


def check_values(subject: Subject) -> str:
    """Require finite values of the declared shapes and types in every observation of a trace."""
    env = subject.make(pixels=TRACE_PIXELS)
    for number, observation in enumerate(fixed_trace(env)):
        when = f"step {number}"
        for name, value in observation.items():
            finite = bool(np.isfinite(value).all())
            require(finite, f"{when}: entry {name!r} is not finite: {value}.")
        require_in_space(env.observation_space, observation, when)
    return f"{TRACE_STEPS} random steps are finite and in the space"


def check_copies(subject: Subject) -> str:
    """Require that observations and draws are copies, never views of arrays that change."""
    env = subject.make(pixels=TRACE_PIXELS)
    observation, _ = env.reset(seed=0)
    draw = env.draw.start.copy(), env.draw.goal.copy()
    seen = [observation]
    copies = [_copy(observation)]
    for action in fixed_actions(env)[:_FEW_STEPS]:
        seen.append(env.step(action)[0])
        copies.append(_copy(seen[-1]))
    for number, (now, before) in enumerate(zip(seen, copies, strict=True)):
        _require_equal(now, before, f"after step {number}", "changed in the steps that followed")
    for name, now, before in zip(
        ("start", "goal"), (env.draw.start, env.draw.goal), draw, strict=True
    ):
        same = np.array_equal(now, before, equal_nan=True)
        require(same, f"the {name} of the EpisodeDraw changed while the environment ran.")
    no_actions = np.empty((0, *env.action_space.shape))
    again, *_ = env.advance(no_actions)
    for name, value in again.items():
        require(
            np.array_equal(value, copies[-1][name], equal_nan=value.dtype.kind == "f"),
            f"entry {name!r} differs when the same state is observed a second time.",
            "Let _observation, _achieved_goal and _frame read the state. They must not advance the "
            "simulation or draw random numbers.",
        )
    for value in seen[-1].values():
        if value.flags.writeable:
            value[...] = 1
    untouched, *_ = env.advance(no_actions)
    _require_equal(untouched, copies[-1], "after a step", "is an internal array")
    return "observations and draws are copies"


def _copy(observation: Observation) -> Observation:
    return {name: np.array(value) for name, value in observation.items()}


def _require_equal(now: Observation, before: Observation, when: str, what: str) -> None:
    for name in before:
        same = np.array_equal(now[name], before[name], equal_nan=now[name].dtype.kind == "f")
        require(same, f"entry {name!r} of the observation {when} is a view: it {what}.")


def check_goal_is_hidden(subject: Subject) -> str:
    """Compare the same start with two goals: nothing but the desired goal may differ."""
    env = subject.make(pixels=TRACE_PIXELS)
    for stratum in subject.task.strata:
        observation, _ = reset_to(env, subject.specs(stratum)[0])
        before = _copy(observation)
        trace = digest(_observe_steps(env))
        state = env.snapshot()
        draw = replace(state.draw, goal=state.draw.start)
        other = env.restore(replace(state, draw=draw, physics=draw.start, num_steps=0))
        require(
            not np.array_equal(other["desired_goal"], before["desired_goal"]),
            f"{stratum}: desired_goal does not follow from the goal of the EpisodeDraw.",
            "Leave desired_goal to GoalEnv: it is the achieved goal of the goal state.",
        )
        for name in ("observation", "achieved_goal", "pixels"):
            same = np.array_equal(other[name], before[name], equal_nan=True)
            require(same, f"{stratum}: {name!r} depends on the goal of the episode.")
        require(
            digest(_observe_steps(env)) == trace,
            f"{stratum}: the dynamics depend on the goal of the episode.",
            "Let _step_physics depend on the state and the action alone.",
        )
    return "the same start looks and moves the same with another goal"


def _observe_steps(env: GoalEnv) -> list[Observation]:
    names = ("observation", "achieved_goal")
    observations = [env.step(action)[0] for action in fixed_actions(env)[:_FEW_STEPS]]
    return [{name: observation[name] for name in names} for observation in observations]
