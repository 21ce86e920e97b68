"""Three levels of trust in a submission, each on top of the one before: valid, replayed, re-run. None believes a number of it.

1. valid: it is whole, it fits the suite, and it does not contradict itself (``jepabench.evaluation.submissions.submission``).
2. replayed: every action is taken again in the simulator, and comes to what the row says. Neither model nor agent is needed.
3. re-run: the agent itself does as well on episodes that nobody outside has seen (``jepabench.evaluation.verification.rerun``).

Levels 1 and 2 run no code of the submission. Replay proves the outcome, not that nothing privileged was used: that is for a re-run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.errors import InvalidActionError
from jepabench.envs.files import write_atomically
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.evaluation.protocol import PROTOCOL_VERSION, Suite
from jepabench.evaluation.rollout import Outcome, ReplayError, outcome_of, replay
from jepabench.evaluation.submissions.submission import (
    Submission,
    SubmissionError,
    Trace,
    folder_digest,
    read_submission,
)

BADGES = ("valid", "replayed", "re-run")
DISTANCE_TOLERANCE = (
    1e-4  # of distances in a replay, relative beyond 1 (task units); flags and counts must be equal
)
SIMULATORS = ("mujoco", "pymunk")
_SHOWN = 5
RECORD_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a check of a submission came to.

    Attributes:
        name: of the folder.
        level: that was asked for.
        badges: that it has earned, of ``BADGES``.
        check, reason: which check refused it and why; empty if none did.
        digest: of its content; empty if that could not be read.
        episodes: rows that were looked at.
        seconds: that it took.
        rerun: what level 3 measured, or None.
    """

    name: str
    level: int
    badges: tuple[str, ...] = ()
    check: str = ""
    reason: str = ""
    digest: str = ""
    episodes: int = 0
    seconds: float = 0.0
    rerun: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether everything that was asked for holds."""
        return not self.check


def verify(
    folder: Path,
    find_suite: Callable[[str], Suite],
    *,
    level: int = 2,
    progress: Callable[[int], object] | None = None,
) -> Verification:
    """Checks a submission to level 1 or 2 in this process; ``jepabench.evaluation.verification.confinement`` does it in one with limits.

    Args:
        folder: of the submission; nothing is written there, or anywhere.
        find_suite: as for ``read_submission``.
        level: 1 or 2.
        progress: called with 1 after every episode that was replayed.
    """
    if level not in (1, 2):
        raise ValueError(
            f"Level 1 (valid) or 2 (replayed), got {level}; level 3 is verification_rerun."
        )
    began, badges, digest, episodes = time.perf_counter(), (), "", 0
    try:
        submission = read_submission(folder, find_suite)
        badges, digest, episodes = BADGES[:1], submission.digest, len(submission.rows)
        if level == 2:
            replay_submission(submission, progress=progress)
            badges = BADGES[:2]
        check, reason = "", ""
    except SubmissionError as error:
        check, reason = error.check, str(error)
    seconds = round(time.perf_counter() - began, 3)
    return Verification(
        name=folder.resolve().name,
        level=level,
        badges=badges,
        check=check,
        reason=reason,
        digest=digest,
        episodes=episodes,
        seconds=seconds,
    )


# -- level 2 -------------------------------------------------------------------------------------------------------


def replay_submission(
    submission: Submission, *, progress: Callable[[int], object] | None = None
) -> None:
    """Takes every action of a submission again in the simulator.

    Raises:
        SubmissionError: other physics than here, or outcomes that are not those of the rows; the first few are named.
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
        more = f"\nand {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise SubmissionError(
            "replay",
            f"{len(wrong)} of {len(submission.rows)} episodes do not come to what their row says.\n"
            + "\n".join(wrong[:_SHOWN])
            + more,
        )


def _check_physics(submission: Submission) -> None:
    """Traces hold for one version of a simulator, so another can not be held against anybody."""
    from importlib.metadata import version

    for physics in {
        get_task(task.task_id).physics.partition(" ")[0].partition("=")[0]
        for task in submission.suite.tasks
    }:
        made = submission.manifest.versions.get(physics)
        if physics in SIMULATORS and made != version(physics):
            raise SubmissionError(
                "suite",
                f"It was made with {physics} {made or '(not said)'}, this release replays with {version(physics)}. Run it again.",
            )


def _differences(env: GoalEnv, trace: Trace) -> list[str]:
    try:
        fast = quick_outcome(env, trace.spec, trace.actions)
        if not _compare(fast, trace.row):
            return []
        # Judged step by step as in an evaluation, before anybody is accused.
        return _compare(replay(trace.spec, trace.actions, env=env), trace.row)
    except ReplayError as error:
        return [str(error)]


def quick_outcome(env: GoalEnv, spec: EpisodeSpec, actions: NDArray[np.float32]) -> Outcome:
    """Returns what ``replay`` does, several times as fast; distances may differ in the last bit.

    Raises:
        ReplayError: as ``replay``.
    """
    _, info = reset_to(env, spec)
    if len(actions) != env.budget:
        raise ReplayError(f"the budget is {env.budget} control steps, the trace has {len(actions)}")
    try:
        steps = env.replay(actions)
    except InvalidActionError as error:
        raise ReplayError(str(error)) from error
    return outcome_of(
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


# -- badges --------------------------------------------------------------------------------------------------------


def write_record(folder: Path, verification: Verification, about: Mapping[str, Any]) -> Path:
    """Writes what a maintainer found into ``folder/NAME.json``; ``about`` is added: date, versions, machine.

    What was found of the same content at a higher level stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{verification.name}.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["digest"] == verification.digest and len(before["badges"]) > len(
            verification.badges
        ):
            return path
    content = {
        "schema_version": RECORD_SCHEMA,
        "name": verification.name,
        "digest": verification.digest,
        "protocol_version": PROTOCOL_VERSION,
        "level": verification.level,
        "badges": list(verification.badges),
        **about,
        "episodes": verification.episodes,
        "seconds": verification.seconds,
        "rerun": verification.rerun,
    }
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def badges_of(folder: Path, verified: Path) -> Sequence[str]:
    """Returns the badges that a maintainer gave a submission, as long as neither it nor the protocol has changed since.

    Args:
        folder: of the submission.
        verified: the folder of the maintainers' records, ``results/verified``.
    """
    path = verified / f"{folder.resolve().name}.json"
    if not path.exists():
        return ()
    record = json.loads(path.read_text(encoding="utf-8"))
    current = (
        record["schema_version"] == RECORD_SCHEMA and record["protocol_version"] == PROTOCOL_VERSION
    )
    if not current or record["digest"] != folder_digest(folder):
        return ()
    return tuple(badge for badge in BADGES if badge in record["badges"])
