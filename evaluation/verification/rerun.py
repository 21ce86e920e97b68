"""Level 3: the agent itself, on episodes drawn with a secret, in a process of its own. Only a maintainer asks for it.

The world stays in this process. The agent's process is shown observations and answers with actions; it is given neither the world's
seeds nor the secret that they come from, so an agent that in truth looks into the simulator does not find its episode there.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.errors import UnknownNameError
from jepabench.evaluation.protocol import Suite
from jepabench.evaluation.records import EpisodeRecord, records_frame
from jepabench.evaluation.rollout import AgentError, evaluate_episodes
from jepabench.evaluation.statistics.intervals import paired_difference
from jepabench.evaluation.submissions.files import CHECKPOINTS, SubmissionError
from jepabench.evaluation.submissions.old_targets import update_targets
from jepabench.evaluation.submissions.submission import Submission, read_submission
from jepabench.evaluation.verification.confinement import Limits, can_isolate
from jepabench.evaluation.verification.levels import BADGES, Verification
from jepabench.evaluation.verification.remote_agent import RemoteAgent

SALT_VARIABLE = "JEPABENCH_PRIVATE_SALT"
_SHORTEST_SALT = 16
_CONFIDENCE = 0.95  # that an honest submission passes, over all of its cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """How a re-run is done.

    Attributes:
        salt: secret of the private episodes.
        limits: of the agent's process.
        python_path: folders with the agent's code, if it is not installed.
        num_episodes: of each task and stratum; the suite's by default.
        batch_size: episodes side by side.
        allow_exposed: run it although this system can not isolate it.
    """

    salt: bytes
    limits: Limits
    python_path: tuple[Path, ...] = ()
    num_episodes: int | None = None
    batch_size: int = 1
    allow_exposed: bool = False


def private_salt() -> bytes:
    """Returns the secret of the private split, from the environment.

    Raises:
        ValueError: it is not there, or too short.
    """
    salt = os.environ.get(SALT_VARIABLE, "").encode()
    if len(salt) < _SHORTEST_SALT:
        raise ValueError(
            f"Level 3 draws its episodes with a secret of {_SHORTEST_SALT} characters or more in {SALT_VARIABLE}; "
            f"it has {len(salt)}. For instance: {SALT_VARIABLE}=$(openssl rand -hex 16)"
        )
    return salt


def verify_rerun(
    verification: Verification,
    folder: Path,
    find_suite: Callable[[str], Suite],
    settings: Rerun,
    *,
    progress: Callable[[int], object] | None = None,
) -> Verification:
    """Adds level 3 to what levels 1 and 2 found.

    Args:
        verification: of levels 1 and 2, passed.
        folder, find_suite: as for ``read_submission``.
        settings: how.
        progress: called with 1 after every episode.
    """
    if not verification.passed:
        return verification
    try:
        if not can_isolate() and not settings.allow_exposed:
            raise SubmissionError(
                "re-run",
                "This system can not cut off the network of a process (`unshare`); see --allow-exposed.",
            )
        submission = read_submission(folder, find_suite)
        if submission.digest != verification.digest:
            raise SubmissionError("files", "The folder changed while it was checked.")
        found = rerun(submission, folder, settings, progress)
    except SubmissionError as error:
        return replace(verification, level=3, check=error.check, reason=str(error))
    except (AgentError, UnknownNameError) as error:
        return replace(verification, level=3, check="re-run", reason=str(error))
    apart = [cell for cell in found["cells"] if not cell["low"] <= 0 <= cell["high"]]
    if apart:
        lines = [
            f"{cell['task_id']}, {cell['stratum']}: {cell['submitted']:.3f} submitted, {cell['rerun']:.3f} again, "
            f"difference within {cell['low']:.3f} to {cell['high']:.3f}"
            for cell in apart
        ]
        reason = (
            "success_held does not agree on episodes that nobody outside has seen.\n"
            + "\n".join(lines)
        )
        return replace(verification, level=3, check="re-run", reason=reason, rerun=found)
    return replace(verification, level=3, badges=BADGES, rerun=found)


def rerun(
    submission: Submission,
    folder: Path,
    settings: Rerun,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Returns success on private episodes beside what was submitted, for each task and stratum.

    Raises:
        SubmissionError: it can not be run again from what it holds.
        AgentError: the agent fails, or goes beyond its limits.
    """
    agent = submission.manifest.agent
    if agent.track.privilege != "none":
        raise SubmissionError(
            "re-run",
            "Its agent sees the simulator, as it says: a re-run would have nothing to find out.",
        )
    # One secret a submission: were it to leak, it would say nothing of the episodes of others.
    salt = hmac.new(settings.salt, submission.digest.encode(), hashlib.sha256).digest()
    records: list[EpisodeRecord] = []
    for task in submission.suite.tasks:
        shorter = replace(
            task, num_episodes=min(task.num_episodes, settings.num_episodes or task.num_episodes)
        )
        suite = replace(submission.suite, tasks=(shorter,))
        for seed in submission.manifest.training_seeds:
            paths = _checkpoints(submission, folder, task.task_id, seed)
            with RemoteAgent(
                _agent_config(submission, task.task_id),
                task.task_id,
                paths=paths,
                salt=hmac.new(salt, b"agent", hashlib.sha256).digest(),
                limits=settings.limits,
                isolated=can_isolate(),
                python_path=settings.python_path,
            ) as remote:
                records += evaluate_episodes(
                    remote,
                    suite.specs(shorter, salt=salt),
                    agent_name=agent.name,
                    training_seed=seed,
                    batch_size=settings.batch_size,
                    pixels=submission.manifest.pixels,
                    progress=progress,
                ).records
    return {
        "episodes": len(records),
        "isolated": can_isolate(),
        "cells": compare(submission.rows, records_frame(records)),
    }


def compare(submitted: pd.DataFrame, again: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns for each task and stratum the paired difference of ``success_held``, its interval wide enough for all cells together.

    The pairs share training seed and index; where there were fewer episodes the second time, the first of the submitted count.
    """
    cells = list(again.groupby(["task_id", "stratum"], sort=False))
    confidence = 1 - (1 - _CONFIDENCE) / len(cells)
    found = []
    for (task, stratum), rows in cells:  # pyright: ignore[reportGeneralTypeIssues]
        before = submitted[(submitted["task_id"] == task) & (submitted["stratum"] == stratum)]
        ours = _outcomes(before)[:, : len(np.unique(rows["index"].to_numpy()))]
        theirs = _outcomes(rows)
        gap = paired_difference(ours, theirs, confidence=confidence)
        found.append(
            {
                "task_id": str(task),
                "stratum": str(stratum),
                "submitted": float(ours.mean()),
                "rerun": float(theirs.mean()),
                "difference": gap.estimate,
                "low": gap.low,
                "high": gap.high,
            }
        )
    return found


def _outcomes(rows: Any) -> NDArray[np.float64]:
    return rows.pivot(index="training_seed", columns="index", values="success_held").to_numpy(
        dtype=np.float64
    )


def _preset(submission: Submission, task_id: str) -> Mapping[str, Any]:
    agent = submission.manifest.agent
    return agent.per_task.get(task_id, agent.config)


def _agent_config(submission: Submission, task_id: str) -> Mapping[str, Any]:
    config = _preset(submission, task_id).get("agent")
    if not isinstance(config, dict) or not isinstance(config.get("_target_"), str):
        raise SubmissionError(
            "re-run", "The agent's configuration has no _target_, so there is nothing to run."
        )
    return update_targets(config)


def _checkpoints(submission: Submission, folder: Path, task_id: str, seed: int) -> dict[str, Path]:
    """Returns the folders that an agent is made from, those that it needs and no others."""
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
                f"It needs {(home / name).relative_to(folder.absolute())}, which is not in it: submit with checkpoints=yes.",
            )
    return {name: home / name for name in needed}
