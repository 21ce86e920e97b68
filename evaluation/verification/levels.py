"""Levels of trust in a submission, each on top of the one before: valid, replayed, re-run.

1. valid: it is complete, fits its suite and does not contradict itself
(``submissions.submission``).
2. replayed: every action is replayed in the simulator and gives what the row says (``replay``).
3. re-run: the agent does as well on private episodes (``rerun``).

Levels 1 and 2 run no code of the submission. A replay proves the outcome, not how the agent found
its actions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepabench.evaluation.protocol import Suite
from jepabench.evaluation.submissions.copies import describe_copies
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.submission import read_submission
from jepabench.evaluation.verification.replay import replay_submission

BADGES = ("valid", "replayed", "re-run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of checking a submission.

    Attributes:
        name: Name of the folder.
        level: That was asked for.
        badges: That it has earned, of ``BADGES``.
        check, reason: The check that refused it, and why; empty if none did.
        digest: Digest of its content; empty if that could not be read.
        copies: Sentences naming submissions with the same or nearly the same actions.
        episodes: Number of rows that were checked.
        seconds: Duration.
        rerun: Measurements of level 3, or None.
    """

    name: str
    level: int
    badges: tuple[str, ...] = ()
    check: str = ""
    reason: str = ""
    digest: str = ""
    copies: tuple[str, ...] = ()
    episodes: int = 0
    seconds: float = 0.0
    rerun: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether no check refused the submission."""
        return not self.check


def verify(
    folder: Path,
    find_suite: Callable[[str], Suite],
    *,
    level: int = 2,
    others: Sequence[Path] = (),
    progress: Callable[[int], object] | None = None,
) -> Verification:
    """Check a submission to level 1 or 2 in this process; ``confined`` does so in a sandbox.

    Args:
        folder: Folder of the submission; nothing is written.
        find_suite: As for ``read_submission``.
        level: 1 or 2.
        others: Folders of other submissions, to find copies.
        progress: Called with 1 after every replayed episode.

    Raises:
        ValueError: Another level.
    """
    if level not in (1, 2):
        raise ValueError(
            f"level must be 1 (valid) or 2 (replayed), got {level}. Level 3 is verify_rerun()."
        )
    began, found = time.perf_counter(), dict[str, Any]()
    try:
        submission = read_submission(folder, find_suite)
        found = {"badges": BADGES[:1], "digest": submission.digest}
        found["episodes"] = len(submission.rows)
        found["copies"] = describe_copies(submission, others)
        if level == 2:
            replay_submission(submission, progress=progress)
            found["badges"] = BADGES[:2]
    except SubmissionError as error:
        found |= {"check": error.check, "reason": str(error)}
    seconds = round(time.perf_counter() - began, 3)
    return Verification(name=folder.resolve().name, level=level, seconds=seconds, **found)
