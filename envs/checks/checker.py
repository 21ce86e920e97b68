"""Check that an environment keeps its contract, so that results measured in it can be compared.

``check_env`` runs every check on a registered task and returns an ``EnvCard``. A faulty
environment gives failed checks with advice; it does not crash the checker.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import mujoco
from tqdm import tqdm

from jepabench.envs.checks.card import Check, EnvCard
from jepabench.envs.checks.conformance import CHECKS, Conformance
from jepabench.envs.checks.fingerprint import fingerprint
from jepabench.envs.checks.subject import CheckFailed, Subject, describe_error
from jepabench.envs.checks.time_limit import TimeLimitExceeded, limit_time
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task

__all__ = ["Check", "EnvCard", "check_env"]

TIME_LIMIT = 3600.0  # [s]


def check_env(
    task_id: str,
    *,
    num_episodes: int = 20,
    time_limit: float = TIME_LIMIT,
    only: Collection[str] = (),
    progress: bool = False,
) -> EnvCard:
    """Check an environment and return its card.

    Args:
        task_id: Registered task, also ``module:Name-v0``.
        num_episodes: Test episodes that each policy plays per stratum.
        time_limit: Time after which the checks are ended and fail [s].
        only: Names of the checks to run, after ``starts``; by default all.
        progress: Whether to show a progress bar with the current check.

    Raises:
        UnknownNameError: There is no such task or check.
        ValueError: ``num_episodes`` or ``time_limit`` is not positive.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes must be at least 1, got {num_episodes}.")
    if not time_limit > 0:
        raise ValueError(f"time_limit must be above 0 s, got {time_limit}.")
    names = [check.name for check in CHECKS]
    for name in only:
        if name not in names:
            raise unknown_name("check", name, names)
    chosen = [check for check in CHECKS if not only or check.name in ("starts", *only)]
    subject = Subject(get_task(task_id), num_episodes)
    with warnings.catch_warnings(), _recorded_warnings(subject.simulator_warnings):
        warnings.simplefilter("ignore")
        checks = _run_checks(chosen, subject, time.monotonic() + time_limit, progress=progress)
    return EnvCard(
        task_id=subject.task.id,
        checks=tuple(checks),
        rates=subject.rates,
        num_episodes=num_episodes,
        speeds=subject.speeds,
        fingerprint=_compute_fingerprint(subject) if not _hangs(checks) else "",
    )


def _run_checks(
    chosen: Sequence[Conformance], subject: Subject, deadline: float, *, progress: bool
) -> list[Check]:
    """Run the checks until one cannot be survived: a failed start or an exceeded time limit."""
    checks: list[Check] = []
    with tqdm(chosen, unit="check", disable=not progress, leave=False) as bar:
        for check in bar:
            bar.set_description(f"{subject.task.id}: {check.name}")
            remaining = deadline - time.monotonic()
            checks.append(_run_check(check, subject, min(remaining, check.time_limit)))
            if _hangs(checks) or not checks[0].passed:
                break
    return checks


def _run_check(check: Conformance, subject: Subject, time_limit: float) -> Check:
    try:
        with limit_time(time_limit):
            return Check(name=check.name, passed=True, message=check.function(subject))
    except CheckFailed as error:
        message, advice = str(error), error.advice or check.advice
    except TimeLimitExceeded as error:
        message = describe_error(error, subject.task)
        advice = "Bound every loop, and raise an error that says what could not be found."
    except Exception as error:  # whatever an environment raises is a finding
        message, advice = describe_error(error, subject.task), check.advice
    return Check(name=check.name, passed=False, message=message, advice=advice)


def _hangs(checks: list[Check]) -> bool:
    return bool(checks) and checks[-1].message.startswith(TimeLimitExceeded.__name__)


def _compute_fingerprint(subject: Subject) -> str:
    try:
        return fingerprint(subject.task.id)
    except Exception:  # a failed check has reported why
        return ""


@contextmanager
def _recorded_warnings(messages: list[str]) -> Iterator[None]:
    """Append the warnings of MuJoCo to ``messages`` instead of writing them to MUJOCO_LOG.TXT."""
    previous = mujoco.get_mju_user_warning()  # pyright: ignore[reportAttributeAccessIssue]
    mujoco.set_mju_user_warning(messages.append)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(previous)  # pyright: ignore[reportAttributeAccessIssue]
