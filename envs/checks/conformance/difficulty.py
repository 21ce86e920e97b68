"""The expert solves the task, doing nothing does not, and how fast the environment runs."""

from __future__ import annotations

import time

from jepabench.envs.checks.fingerprint import TRACE_PIXELS, fixed_actions, fixed_trace
from jepabench.envs.checks.scripted_rollouts import HOLD_STILL, play, policies
from jepabench.envs.checks.subject import Subject, require

EXPERT_RATE = 0.95


def check_difficulty(subject: Subject) -> str:
    """Compare the success rates of the expert, the default behaviour and doing nothing."""
    task = subject.task
    require(
        "expert" in task.behaviours,
        f"there is no behaviour 'expert', only {', '.join(sorted(task.behaviours))}.",
        "Add a scripted expert: without one nobody knows whether the goals can be reached.",
    )
    for policy in policies(task):
        subject.rates[policy] = {
            stratum: _compute_success_rate(subject, stratum, policy) for stratum in task.strata
        }
    for stratum in task.strata:
        still, default, expert = (
            subject.rates[policy][stratum]
            for policy in (HOLD_STILL, task.default_behaviour, "expert")
        )
        require(
            still == 0.0,
            f"{stratum}: doing nothing solves {still:.0%} of the episodes.",
            "Draw goals that differ from the start, and let nothing move by itself to the goal.",
        )
        require(
            expert >= EXPERT_RATE,
            f"{stratum}: the expert solves only {expert:.0%} of the episodes within the budget.",
        )
        require(
            default < expert,
            f"{stratum}: {task.default_behaviour!r} is as successful as the expert.",
        )
    return (
        f"the expert solves at least {EXPERT_RATE:.0%} of {subject.num_episodes} episodes per "
        "stratum, doing nothing solves none"
    )


def _compute_success_rate(subject: Subject, stratum: str, policy: str) -> float:
    """Return the share of test episodes in which success is held within the budget."""
    env, specs = subject.make(), subject.specs(stratum)
    return sum(play(env, spec, policy).held for spec in specs) / len(specs)


def measure_speed(subject: Subject) -> str:
    """Measure control steps per second of processor time, with and without frames."""
    for name, pixels in (("steps/s", None), ("steps with a frame/s", TRACE_PIXELS)):
        env = subject.make(pixels=pixels)
        num_steps = len(fixed_trace(env)) - 1  # warms up: the first frame takes longer
        start = time.process_time()
        for action in fixed_actions(env):
            env.step(action)
        subject.speeds[name] = num_steps / max(time.process_time() - start, 1e-9)
    return "measured in processor time, without a limit"
