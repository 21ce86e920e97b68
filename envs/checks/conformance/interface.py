"""The environment starts, and follows the interfaces of Gymnasium and Stable-Baselines3."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re

import gymnasium
import numpy as np
from gymnasium.utils import env_checker

from jepabench.envs.checks.fingerprint import TRACE_PIXELS
from jepabench.envs.checks.subject import CheckFailed, Subject, require, require_in_space
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.task import load_entry_point

_INFO = {"is_success", "distance", "violation", "budget"}
_COPY = "Return a copy, for example `self.simulation.data.qpos[:2].copy()`."


def check_starts(subject: Subject) -> str:
    """Make and reset the environment in every stratum, and load its behaviours."""
    task = subject.task
    require(
        re.search(r"-v\d+$", task.id) is not None,
        f"the id {task.id!r} has no version.",
        f"Name it {task.id}-v0, and raise the version when physics, rewards or images change.",
    )
    require(task.control_dt > 0, f"control_dt must be above 0 s, got {task.control_dt}.")
    for stratum in task.strata:
        for pixels in (None, TRACE_PIXELS):
            env = subject.make(pixels=pixels)
            observation, info = _reset(env, stratum)
            require_in_space(env.observation_space, observation, stratum)
            missing = sorted(_INFO - info.keys())
            require(not missing, f"info of reset() has no {', '.join(missing)}.")
    _load_behaviours(subject)
    return f"{len(task.strata)} strata, with and without frames"


def _reset(env: GoalEnv, stratum: str) -> tuple:
    """Reset the environment; explain a goal that is always solved because it is a view."""
    try:
        return env.reset(seed=0, options={"stratum": stratum})
    except RuntimeError:
        if env._draw is None:
            raise
        env._set_physics(env.draw.goal)
        goal = env._achieved_goal()
        copy = np.array(goal)
        env._set_physics(env.draw.start)
        if np.array_equal(goal, copy):
            raise
        raise CheckFailed(
            "_achieved_goal() returns a view of an internal array: the goal changes when the "
            "environment moves to the start, so every start is solved.",
            _COPY,
        ) from None


def _load_behaviours(subject: Subject) -> None:
    for name, entry_point in subject.task.behaviours.items():
        try:
            load_entry_point(entry_point)()
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise CheckFailed(
                f"behaviour {name!r} cannot be made from {entry_point!r}: {error}.",
                "Name it as `module:Class` in TaskSpec.behaviours; the class takes no arguments.",
            ) from error


def check_gymnasium(subject: Subject) -> str:
    """Run Gymnasium's checker and render a frame."""
    env = gymnasium.make(subject.task.id, render_mode="rgb_array").unwrapped
    env_checker.check_env(env, skip_render_check=True)
    frame = env.render()
    is_frame = isinstance(frame, np.ndarray) and frame.dtype == np.uint8
    require(is_frame, f"render() must return a uint8 array, got {type(frame).__name__}.")
    return "passes gymnasium.utils.env_checker"


def check_stable_baselines(subject: Subject) -> str:
    """Run Stable-Baselines3's checker, if it is installed."""
    if importlib.util.find_spec("stable_baselines3") is None:
        return "skipped: Stable-Baselines3 is not installed"
    from stable_baselines3.common.env_checker import check_env as check_for_sb3  # imports torch

    with contextlib.redirect_stdout(io.StringIO()):
        check_for_sb3(subject.make(), warn=True)
    return "passes stable_baselines3.common.env_checker"
