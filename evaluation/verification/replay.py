"""Level 2: replay every action of a submission in the simulator, without its model or agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.errors import InvalidActionError
from jepabench.envs.registry import make
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.evaluation.records import Outcome
from jepabench.evaluation.rollout import ReplayError, compute_outcome, replay
from jepabench.evaluation.submissions.archive import describe_other_physics
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.submission import Submission, Trace

# Of distances in a replay, relative beyond 1 (task units); flags and counts must be equal.
DISTANCE_TOLERANCE = 1e-4
_SHOWN = 5


def replay_submission(
    submission: Submission, *, progress: Callable[[int], object] | None = None
) -> None:
    """Replay every action of a submission in the simulator.

    Raises:
        SubmissionError: Another simulator version, or outcomes that differ from the rows; the first
            are listed.
    """
    _check_physics(submission)
    wrong: list[str] = []
    worlds: dict[str, GoalEnv] = {}
    try:
        for trace in submission.traces():
            if trace.spec.task_id not in worlds:
                worlds[trace.spec.task_id] = make(trace.spec.task_id)
            differences = _differences(worlds[trace.spec.task_id], trace)
            if differences:
                seed = trace.row["training_seed"]
                wrong.append(f"{trace.spec.key} (training seed {seed}): {'; '.join(differences)}")
            if progress:
                progress(1)
    finally:
        for world in worlds.values():
            world.close()
    if wrong:
        raise SubmissionError(
            "replay",
            f"{len(wrong)} of {len(submission.rows)} episodes differ from their row when replayed.",
            *wrong[:_SHOWN],
            *([f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []),
        )


def _check_physics(submission: Submission) -> None:
    """Refuse traces of another simulator version: a difference would prove nothing."""
    reason = describe_other_physics(submission.manifest.versions, submission.suite)
    if reason:
        raise SubmissionError("suite", f"{reason} Run it again.")


def _differences(env: GoalEnv, trace: Trace) -> list[str]:
    try:
        fast = quick_outcome(env, trace.spec, trace.actions)
        if not _compare(fast, trace.row):
            return []
        # The exact, slower replay decides.
        return _compare(replay(trace.spec, trace.actions, env=env), trace.row)
    except ReplayError as error:
        return [str(error)]


def quick_outcome(env: GoalEnv, spec: EpisodeSpec, actions: NDArray[np.float32]) -> Outcome:
    """Return what ``replay`` does, several times as fast; distances may differ in the last bit.

    Raises:
        ReplayError: As ``replay``.
    """
    _, info = reset_to(env, spec)
    if len(actions) != env.budget:
        raise ReplayError(f"the budget is {env.budget} control steps, the trace has {len(actions)}")
    try:
        steps = env.replay(actions)
    except InvalidActionError as error:
        raise ReplayError(str(error)) from error
    return compute_outcome(
        steps.successes,
        steps.joint,
        steps.strict,
        np.concatenate([[info["distance"]], steps.distances]),
        held_steps=env.task.held_steps,
        reference_steps=int(info["reference_steps"]),
        violations=int(steps.violations.sum()),
        return_=float(steps.successes.sum()) - len(actions),
    )


def _compare(outcome: Outcome, row: Mapping[str, Any]) -> list[str]:
    found = []
    for name, true in asdict(outcome).items():
        claimed = row[name]
        if name.startswith("distance"):
            same = abs(claimed - true) <= DISTANCE_TOLERANCE * max(1.0, abs(true))
        else:
            same = claimed == true
        if not same:
            found.append(f"{name} is {true}, the row says {claimed}")
    return found
