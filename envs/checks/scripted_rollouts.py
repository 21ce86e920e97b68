"""Episodes played by scripted policies: the floors and the ceiling that a world is measured by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.envs.task import TaskSpec

HOLD_STILL = "hold-still"


@dataclass(frozen=True, slots=True)
class Played:
    """How an episode went: whether success was ever there, whether it was held
    (``TaskSpec.held_steps``), and the steps until then.
    """

    ever: bool
    held: bool
    num_steps: int


def policies(task: TaskSpec) -> tuple[str, ...]:
    """Return hold-still, and those of the random, default and expert behaviours that exist."""
    named = (
        name
        for name in dict.fromkeys(("random", task.default_behaviour, "expert"))
        if name in task.behaviours
    )
    return (HOLD_STILL, *named)


def play(env: GoalEnv, spec: EpisodeSpec, policy: str) -> Played:
    """Play an episode until success is held or the budget is used up.

    Args:
        env: A world of the spec's task.
        spec: Names the episode; its ``planner_seed`` is what the policy draws from.
        policy: ``hold-still`` or a behaviour of the task.
    """
    observation, info = reset_to(env, spec)
    still = np.zeros(env.action_space.shape).clip(env.action_space.low, env.action_space.high)
    behaviour = None if policy == HOLD_STILL else make_behaviour(env.task, policy)
    if behaviour is not None:
        behaviour.reset(env, np.random.default_rng(spec.planner_seed))
    ever, in_a_row, budget = False, 0, info["budget"]
    for num_steps in range(1, budget + 1):
        action = still if behaviour is None else behaviour.act(observation)
        observation, _, _, _, info = env.step(action)
        in_a_row = in_a_row + 1 if info["is_success"] else 0
        ever |= info["is_success"]
        if in_a_row == env.task.held_steps:
            return Played(True, True, num_steps)
    return Played(ever, False, budget)


def rates_text(rates: Mapping[str, Mapping[str, float]], *, title: str) -> list[str]:
    """Return the lines of a titled table of success rates (0 to 1) by policy and stratum."""
    strata = list(next(iter(rates.values())))
    width = max(map(len, (title, *rates)))
    head = f"{title:<{width}}" + "".join(f"{stratum:>{_column(stratum)}}" for stratum in strata)
    rows = [
        f"{policy:<{width}}"
        + "".join(
            f"{rate:>{_column(stratum)}.0%}"[1:].replace("%", " %") for stratum, rate in of.items()
        )
        for policy, of in rates.items()
    ]
    return [head, *rows]


def _column(stratum: str) -> int:
    return max(len(stratum), 5) + 2
