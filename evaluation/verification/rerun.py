"""Level 3: the agent itself, on private episodes, in a sandbox. Only a maintainer asks for it.

The world stays in this process. The agent's process receives the observations of its declared track
and answers with actions. It receives neither the world's seeds nor the salt behind them, so an
agent that looks into a simulator of its own does not find its episode there.

A re-run shows that the agent does as well on private episodes, seeing only the observations that
its
track declares. It cannot show that the agent uses no simulator: one that brings its own, set to the
state it observes, is not detected by its success. Declared and measured planning costs are
therefore compared.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jepabench.agents.artifacts import artifact_folders
from jepabench.envs.errors import UnknownNameError
from jepabench.evaluation.protocol import Suite, SuiteTask
from jepabench.evaluation.records import EpisodeRecord, records_frame
from jepabench.evaluation.rollout import AgentError, evaluate_episodes
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import CHECKPOINTS
from jepabench.evaluation.submissions.old_targets import update_preset, update_targets
from jepabench.evaluation.submissions.submission import Submission, read_submission
from jepabench.evaluation.submissions.text import escape_text
from jepabench.evaluation.submissions.tracks import OBSERVATION_KEYS
from jepabench.evaluation.verification.agreement import (
    ProcessorTimes,
    compare_costs,
    compare_planning,
    compare_success,
    find_understated_costs,
    find_unstated_search,
)
from jepabench.evaluation.verification.environment import hash_code, hash_environment
from jepabench.evaluation.verification.levels import BADGES, Verification
from jepabench.evaluation.verification.limits import Limits
from jepabench.evaluation.verification.remote_agent import RemoteAgent
from jepabench.evaluation.verification.salt import commit_to_salt
from jepabench.evaluation.verification.sandbox import can_sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """How a re-run is done.

    Attributes:
        salt: Secret of the private episodes.
        limits: Limits of the agent's processes.
        python_path: Folders with the agent's code, if it is not installed.
        num_episodes: Per task and stratum; None for the fewest that the suite allows.
        batch_size: Episodes side by side.
        allow_exposed: Run it even where there is no sandbox.
        patience: Seconds to wait for each answer of the agent.
    """

    salt: bytes
    limits: Limits
    python_path: tuple[Path, ...] = ()
    num_episodes: int | None = None
    batch_size: int = 1
    allow_exposed: bool = False
    patience: float = 600.0


def verify_rerun(
    verification: Verification,
    folder: Path,
    find_suite: Callable[[str], Suite],
    settings: Rerun,
    *,
    progress: Callable[[int], object] | None = None,
) -> Verification:
    """Add level 3 to the result of levels 1 and 2.

    Args:
        verification: Verification of levels 1 and 2; returned as it is if it did not pass.
        folder, find_suite: As for ``read_submission``.
        settings: How.
        progress: Called with 1 after every episode.
    """
    if not verification.passed:
        return replace(verification, level=3)
    found: Mapping[str, Any] | None = None
    try:
        if not can_sandbox() and not settings.allow_exposed:
            raise SubmissionError(
                "re-run",
                "This system cannot confine the agent: install bubblewrap (`apt-get install "
                "bubblewrap`), or see --allow-exposed.",
            )
        submission = read_submission(folder, find_suite)
        if submission.digest != verification.digest:
            raise SubmissionError("files", "The folder changed while it was checked.")
        found = rerun(submission, folder, settings, progress)
        _check_agreement(found, uses_data=submission.manifest.agent.track.data != "none")
    except SubmissionError as error:
        return replace(verification, level=3, check=error.check, reason=str(error), rerun=found)
    except (AgentError, UnknownNameError) as error:
        reason = escape_text(str(error))
        grounds = _grounds(settings)
        return replace(verification, level=3, check="re-run", reason=reason, rerun=grounds)
    return replace(verification, level=3, badges=BADGES, rerun=found)


def rerun(
    submission: Submission,
    folder: Path,
    settings: Rerun,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Return success and costs on private episodes beside what was submitted.

    Raises:
        SubmissionError: It cannot be run again from its contents, or with so few episodes.
        AgentError: The agent fails, or exceeds its limits.
    """
    agent = submission.manifest.agent
    if agent.track.privilege != "none":
        raise SubmissionError(
            "re-run",
            "Its track declares that it asks the simulator, so a re-run would prove nothing.",
        )
    tasks = [_private_task(submission.suite, task, settings) for task in submission.suite.tasks]
    # One secret per submission: if it leaks, it tells nothing about other submissions' episodes.
    salt = hmac.new(settings.salt, submission.digest.encode(), hashlib.sha256).digest()
    records: list[EpisodeRecord] = []
    processor: ProcessorTimes = {}
    for task in tasks:
        suite = replace(submission.suite, tasks=(task,))
        for seed in submission.manifest.training_seeds:
            # A process and a sandbox of its own for each training seed, so that none can leave
            # notes.
            with RemoteAgent(
                _agent_config(submission, task.task_id),
                task.task_id,
                paths=_checkpoints(submission, folder, task.task_id, seed),
                salt=hmac.new(salt, b"agent", hashlib.sha256).digest(),
                limits=settings.limits,
                sandboxed=can_sandbox(),
                allowed_keys=OBSERVATION_KEYS[agent.track.observation],
                python_path=settings.python_path,
                patience=settings.patience,
            ) as remote:
                records += evaluate_episodes(
                    remote,
                    suite.specs(task, salt=salt),
                    agent_name=agent.name,
                    training_seed=seed,
                    batch_size=settings.batch_size,
                    pixels=submission.manifest.pixels,
                    progress=progress,
                ).records
                for stratum, found in (remote.processor_ms or {}).items():
                    processor.setdefault((task.task_id, stratum), []).extend(found)
    again = records_frame(records)
    return {
        **_grounds(settings),
        "episodes": len(records),
        **compare_success(submission.rows, again),
        "costs": compare_costs(submission.rows, again),
        "planning": compare_planning(submission.rows, again, processor),
    }


def _grounds(settings: Rerun) -> dict[str, Any]:
    """Return what a re-run depends on: sandbox, salt, code and environment."""
    return {
        "sandbox": "bubblewrap" if can_sandbox() else "none",
        "salt_sha256": commit_to_salt(settings.salt),
        "code_sha256": hash_code(settings.python_path),
        "environment_sha256": hash_environment(),
    }


def _check_agreement(found: Mapping[str, Any], *, uses_data: bool) -> None:
    reasons = find_understated_costs(found["costs"], found["planning"])
    if not uses_data:
        reasons += find_unstated_search(found["costs"], found["planning"])
    if not found["passed"]:
        worst = sorted(found["cells"], key=lambda cell: cell["rerun"] - cell["submitted"])[:5]
        reasons += [
            "success_held on private episodes is lower than submitted by "
            f"{found['difference']:.3f} (p = {found['p_value']:.4f}).",
            *(
                f"{cell['task_id']}, {cell['stratum']}: {cell['submitted']:.3f} submitted, "
                f"{cell['rerun']:.3f} re-run"
                for cell in worst
            ),
        ]
    if reasons:
        raise SubmissionError("re-run", *reasons)


def _private_task(suite: Suite, task: SuiteTask, settings: Rerun) -> SuiteTask:
    """Return a task with its number of private episodes.

    Raises:
        SubmissionError: Fewer than the suite allows.
    """
    fewest = max(suite.private_episodes, task.num_episodes)
    count = fewest if settings.num_episodes is None else settings.num_episodes
    if count < fewest:
        raise SubmissionError(
            "re-run",
            f"{task.task_id}: suite {suite.name} needs at least {fewest} private episodes per "
            f"stratum, got {count}.",
        )
    return replace(task, num_episodes=count)


def _preset(submission: Submission, task_id: str) -> Mapping[str, Any]:
    agent = submission.manifest.agent
    return agent.per_task.get(task_id, agent.config)


def _agent_config(submission: Submission, task_id: str) -> Mapping[str, Any]:
    config = _preset(submission, task_id).get("agent")
    if not isinstance(config, dict) or not isinstance(config.get("_target_"), str):
        raise SubmissionError("re-run", "The agent's configuration has no _target_.")
    return update_targets(config)


def _checkpoints(submission: Submission, folder: Path, task_id: str, seed: int) -> dict[str, Path]:
    """Return the checkpoint folders that an agent needs, and no others."""
    preset = _preset(submission, task_id)
    home = folder.absolute() / CHECKPOINTS / task_id.split("/")[-1] / f"seed{seed}"
    needed = [
        name
        for key, name in (("world_model", "world_model"), ("train", "policy"))
        if preset.get(key)
    ]
    for name in needed:
        if not (home / name).is_dir():
            raise SubmissionError(
                "re-run",
                f"It lacks {(home / name).relative_to(folder.absolute())}: "
                "submit with checkpoints=yes.",
            )
    folders = {name: home / name for name in needed if name != "policy"}
    if "policy" in needed:
        folders |= artifact_folders(update_preset(preset), home / "policy")
    return folders
