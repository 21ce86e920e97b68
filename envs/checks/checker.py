"""The conformance suite: what a world has to keep so that numbers measured in it can be trusted and compared.

``check_env`` runs it over any registered task and returns an ``EnvCard``. A bad world gives failed checks that say what
was found and how to mend it; it does not crash the suite.
"""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import gymnasium
import numpy as np
from gymnasium.utils import env_checker

from jepabench.envs.checks.fingerprint import (
    TRACE_PIXELS,
    TRACE_STEPS,
    compute_digests_in_new_process,
    digest,
    fingerprint,
    fixed_actions,
    fixed_trace,
)
from jepabench.envs.checks.scripted_rollouts import HOLD_STILL, play, policies, rates_text
from jepabench.envs.core import InvalidActionError, reset_to
from jepabench.envs.registry import TaskSpec, get_task, make
from jepabench.envs.splits import SPLITS, EpisodeSpec, episode_specs

EXPERT_RATE = 0.95
_SALT = b"checker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The outcome of one check: its name, whether it passed, what was found, and if it failed how to mend the world."""

    name: str
    passed: bool
    message: str
    mend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvCard:
    """What the suite found out about a task.

    Attributes:
        task_id: versioned id.
        checks: all that were made, in order.
        rates: share of test episodes in which success was held, 0 to 1, by policy and stratum.
        num_episodes: that each rate is of.
        speeds: by what is done [1/s].
        fingerprint: hash of a fixed trace and its frames; another one means other physics or pictures. Empty if the
            world does not run.
    """

    task_id: str
    checks: tuple[Check, ...]
    rates: Mapping[str, Mapping[str, float]]
    num_episodes: int
    speeds: Mapping[str, float]
    fingerprint: str

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    def text(self) -> str:
        """Returns the card as lines to read."""
        width = max(len(check.name) for check in self.checks)
        lines = [
            f"{self.task_id}  {'sound' if self.passed else 'NOT SOUND'}  fingerprint {self.fingerprint or '-'}"
        ]
        for check in self.checks:
            lines.append(
                f"  {'ok  ' if check.passed else 'FAIL'}  {check.name:<{width}}  {check.message}"
            )
            if not check.passed:
                lines.append(f"        {'':<{width}}  -> {check.mend}")
        lines += [f"  {name:<{width + 6}}  {value:,.0f}" for name, value in self.speeds.items()]
        if self.rates:
            title = f"success held in {self.num_episodes} test episodes"
            lines += ["", *(f"  {line}" for line in rates_text(self.rates, title=title))]
        return "\n".join(lines)


class CheckFailed(Exception):  # noqa: N818  (read as a sentence where it is raised)
    """A world does not keep what it has to."""


@dataclass(frozen=True, slots=True)
class _Subject:
    task: TaskSpec
    num_episodes: int
    rates: dict[str, dict[str, float]] = field(default_factory=dict)
    speeds: dict[str, float] = field(default_factory=dict)

    def specs(self, stratum: str, *, split: str = "test") -> list[EpisodeSpec]:
        salt = _SALT if split == "private" else b""
        return episode_specs(self.task.id, split, self.num_episodes, strata=(stratum,), salt=salt)


def check_env(task_id: str, *, num_episodes: int = 20) -> EnvCard:
    """Returns the card of a task; ``num_episodes`` test episodes a stratum are played by each policy.

    Raises:
        UnknownNameError: no such task.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes is 1 or more, got {num_episodes}.")
    subject = _Subject(get_task(task_id), num_episodes)
    checks: list[Check] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, function, mend in _CHECKS:
            checks.append(_outcome(name, function, mend, subject))
            if not checks[0].passed:
                break  # a world that cannot be made fails all others for the same reason
        try:
            trace = fingerprint(subject.task.id)
        except Exception:  # the check that it fails has said why
            trace = ""
    return EnvCard(
        task_id=subject.task.id,
        checks=tuple(checks),
        rates=subject.rates,
        num_episodes=num_episodes,
        speeds=subject.speeds,
        fingerprint=trace,
    )


def _outcome(name: str, function: Callable[[_Subject], str], mend: str, subject: _Subject) -> Check:
    try:
        return Check(name=name, passed=True, message=function(subject))
    except CheckFailed as error:
        return Check(name=name, passed=False, message=str(error), mend=mend)
    except Exception as error:  # whatever a world may raise is a finding
        return Check(name=name, passed=False, message=f"{type(error).__name__}: {error}", mend=mend)


# -- the checks, in the order in which they are made ---------------------------------------------------------------


def _check_starts(subject: _Subject) -> str:
    for stratum in subject.task.strata:
        for pixels in (None, TRACE_PIXELS):
            env = make(subject.task.id, pixels=pixels)
            observation, info = env.reset(seed=0, options={"stratum": stratum})
            _require(
                env.observation_space.contains(observation),
                f"{stratum}: the observation is not in its space.",
            )
            _require(
                {"is_success", "distance", "violation", "budget"} <= info.keys(),
                f"info has only {sorted(info)}.",
            )
    return f"{len(subject.task.strata)} strata, with and without frames"


def _check_gymnasium(subject: _Subject) -> str:
    env = gymnasium.make(subject.task.id, render_mode="rgb_array").unwrapped
    env_checker.check_env(env, skip_render_check=True)
    frame = env.render()
    _require(
        isinstance(frame, np.ndarray) and frame.dtype == np.uint8, "render() gives no uint8 frame."
    )
    return "passes gymnasium.utils.env_checker"


def _check_stable_baselines(subject: _Subject) -> str:
    from stable_baselines3.common.env_checker import check_env as check_for_sb3  # it imports torch

    with contextlib.redirect_stdout(io.StringIO()):
        check_for_sb3(make(subject.task.id), warn=True)
    return "passes stable_baselines3.common.env_checker"


def _check_values(subject: _Subject) -> str:
    env = make(subject.task.id, pixels=TRACE_PIXELS)
    for observation in fixed_trace(env):
        _require(
            env.observation_space.contains(observation),
            "an observation is not in its space (shape or dtype).",
        )
        finite = all(np.isfinite(value).all() for value in observation.values())
        _require(finite, f"an observation is not finite: {observation['observation']}.")
    return f"{TRACE_STEPS} random steps are finite and in the space"


def _check_seeds(subject: _Subject) -> str:
    first, second = (
        digest(fixed_trace(make(subject.task.id, pixels=TRACE_PIXELS))) for _ in range(2)
    )
    _require(first == second, "two instances with the same seed and actions differ.")
    env = make(subject.task.id, pixels=TRACE_PIXELS)
    fixed_trace(env, seed=1)
    _require(
        digest(fixed_trace(env)) == first,
        "an instance that has played another episode before differs.",
    )
    _require(digest(fixed_trace(env, seed=1)) != first, "two seeds give the same episode.")
    return "new and used instances agree byte by byte"


def _check_processes(subject: _Subject) -> str:
    here = digest(fixed_trace(make(subject.task.id, pixels=TRACE_PIXELS)))
    _require(
        compute_digests_in_new_process([subject.task]) == [here],
        "another process gives other numbers or frames.",
    )
    return "another process agrees byte by byte"


def _check_snapshots(subject: _Subject) -> str:
    env, other = (make(subject.task.id, pixels=TRACE_PIXELS) for _ in range(2))
    actions = fixed_actions(env)
    reset_to(env, subject.specs(subject.task.strata[-1])[0])
    for action in actions[: TRACE_STEPS // 2]:
        env.step(action)
    state = env.snapshot()
    before = digest([env.advance(actions[:0])[0]])
    after = digest(env.step(action)[0] for action in actions[TRACE_STEPS // 2 :])
    for restored in (env, other):
        _require(digest([restored.restore(state)]) == before, "a restored world looks different.")
        again = digest(restored.step(action)[0] for action in actions[TRACE_STEPS // 2 :])
        _require(again == after, "a restored world goes on differently under the same actions.")
    return "the same and another instance go on byte by byte"


def _check_rewards(subject: _Subject) -> str:
    for reward in ("sparse", "dense"):
        env = make(subject.task.id, reward=reward)
        env.reset(seed=0)
        steps = [env.step(action) for action in fixed_actions(env)]
        achieved, desired = (
            np.stack([step[0][key] for step in steps]) for key in ("achieved_goal", "desired_goal")
        )
        rewards = np.array([step[1] for step in steps])
        _require(
            np.array_equal(env.compute_reward(achieved, desired, {}), rewards),
            f"{reward}: compute_reward over rows differs from the rewards of step().",
        )
        successes = env.is_success(achieved, desired)
        _require(
            np.array_equal(successes, [step[4]["is_success"] for step in steps]),
            "is_success and info differ.",
        )
        _require(bool((rewards <= 0).all()), f"{reward}: a reward is above 0, got {rewards.max()}.")
        solved = env.compute_reward(desired, desired, {})
        _require(
            bool((solved == 0).all()), f"{reward}: the reward at the goal is 0, got {solved.min()}."
        )
    return "equal to compute_reward, row by row; 0 at the goal"


def _check_actions(subject: _Subject) -> str:
    env = make(subject.task.id)
    space = env.action_space
    zero = np.zeros(space.shape).clip(space.low, space.high)
    try:
        env.step(zero)
    except RuntimeError:
        env.reset(seed=0)
    else:
        raise CheckFailed("an action before reset() is accepted.")
    state = env.snapshot()
    bad = {
        "NaN": zero * np.nan,
        "infinity": zero + np.inf,
        "out of bounds": space.high + 1.0,
        "wrong shape": zero[:-1],
    }
    for what, action in bad.items():
        try:
            env.step(action)
        except InvalidActionError:
            unchanged = (
                np.array_equal(env.snapshot().physics, state.physics)
                and env.snapshot().num_steps == 0
            )
            _require(unchanged, f"{what}: the action was refused, but the world changed.")
        else:
            raise CheckFailed(f"{what}: the action is accepted.")
    env.step(zero)
    return f"{', '.join(bad)} and early ones are refused"


def _check_frames(subject: _Subject) -> str:
    env = make(subject.task.id, pixels=TRACE_PIXELS)
    for stratum in subject.task.strata:
        observation, _ = reset_to(env, subject.specs(stratum)[0])
        start, goal = observation["pixels"], observation["goal_pixels"]
        _require(not np.array_equal(start, goal), f"{stratum}: the goal looks like the start.")
        _require(
            np.array_equal(env.goal_frame(TRACE_PIXELS), goal),
            "goal_frame() differs from goal_pixels.",
        )
        now = env.advance(np.empty((0, *env.action_space.shape)))[0]["pixels"]
        _require(np.array_equal(now, start), "looking at the goal changed the world.")
    return "start and goal look different"


def _check_splits(subject: _Subject) -> str:
    env, starts, worlds = make(subject.task.id), {}, {}
    for split in SPLITS:
        for stratum in subject.task.strata:
            for spec in subject.specs(stratum, split=split):
                reset_to(env, spec)
                starts.setdefault((env.draw.start.tobytes(), env.draw.goal.tobytes()), set()).add(
                    split
                )
                worlds.setdefault(digest([dict(env.draw.world)]), set()).add(split == "train")
    _require(all(len(splits) == 1 for splits in starts.values()), "two splits share an episode.")
    shared = len(worlds) > 1 and any(len(sides) > 1 for sides in worlds.values())
    _require(not shared, "a world (layout, shape) of the training split occurs in another split.")
    return f"{len(starts)} episodes are all different; {len(worlds)} {'worlds' if len(worlds) > 1 else 'world'}"


def _check_difficulty(subject: _Subject) -> str:
    task = subject.task
    _require(
        "expert" in task.behaviours,
        f"there is no behaviour 'expert', only {sorted(task.behaviours)}.",
    )
    for policy in policies(task):
        subject.rates[policy] = {
            stratum: _success_rate(subject, stratum, policy) for stratum in task.strata
        }
    for stratum in task.strata:
        still, chance, expert = (
            subject.rates[policy][stratum]
            for policy in (HOLD_STILL, task.default_behaviour, "expert")
        )
        _require(still == 0.0, f"{stratum}: doing nothing solves {still:.0%}.")
        _require(
            expert >= EXPERT_RATE,
            f"{stratum}: the expert solves only {expert:.0%} within the budget.",
        )
        _require(
            chance < expert, f"{stratum}: {task.default_behaviour!r} does as well as the expert."
        )
    return f"the expert solves {EXPERT_RATE:.0%} or more of {subject.num_episodes} episodes a stratum, hold-still none"


def _check_speed(subject: _Subject) -> str:
    for name, pixels in (("steps/s", None), ("steps with a frame/s", TRACE_PIXELS)):
        env = make(subject.task.id, pixels=pixels)
        num_steps = len(fixed_trace(env))  # the first frame of a world takes longer than the others
        start = time.process_time()
        for action in fixed_actions(env):
            env.step(action)
        subject.speeds[name] = (num_steps - 1) / max(time.process_time() - start, 1e-9)
    return "measured in processor time, without a limit"


_CHECKS: tuple[tuple[str, Callable[[_Subject], str], str], ...] = (
    (
        "it starts",
        _check_starts,
        "Make it with envs.make(task_id) and reset it in each stratum; see jepabench.envs.core.GoalEnv.",
    ),
    ("Gymnasium", _check_gymnasium, "See gymnasium.utils.env_checker.check_env."),
    (
        "Stable-Baselines3",
        _check_stable_baselines,
        "See stable_baselines3.common.env_checker.check_env.",
    ),
    (
        "values",
        _check_values,
        "Return finite float64 arrays of the declared sizes; look for an unstable step.",
    ),
    (
        "a seed fixes an episode",
        _check_seeds,
        "Draw from the rng of _draw_episode only; keep nothing between episodes.",
    ),
    (
        "processes agree",
        _check_processes,
        "Depend on no hash(), set order, time or global state; be importable.",
    ),
    (
        "snapshots",
        _check_snapshots,
        "Let _get_physics and _set_physics cover all that the next step and frame need.",
    ),
    (
        "rewards",
        _check_rewards,
        "Write distance and is_success over the last axis, of the two goals alone.",
    ),
    ("bad actions", _check_actions, "Leave step() and advance() to GoalEnv."),
    (
        "frames",
        _check_frames,
        "Draw everything that the goal is about; _frame must not change the world.",
    ),
    (
        "splits",
        _check_splits,
        "Draw start and goal from continuous ranges; draw layouts from sets that the split decides.",
    ),
    (
        "difficulty",
        _check_difficulty,
        "Mend the expert, the budget (reference_steps) or the strata.",
    ),
    ("speed", _check_speed, "Let the world run for a whole trace."),
)


# -- what they share ---------------------------------------------------------------------------------------------------


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise CheckFailed(message)


def _success_rate(subject: _Subject, stratum: str, policy: str) -> float:
    """Returns the share of test episodes in which success is held within the budget."""
    env = make(subject.task.id)
    return (
        sum(play(env, spec, policy).held for spec in subject.specs(stratum)) / subject.num_episodes
    )
