"""Find submissions, or training seeds of a submission, with the same or nearly the same actions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jepabench.evaluation.submissions.arrays import read_actions
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import ACTIONS, CHECKPOINTS, MANIFEST, ROWS, read_files
from jepabench.evaluation.submissions.manifest import read_manifest
from jepabench.evaluation.submissions.rows import read_rows

if TYPE_CHECKING:
    from jepabench.evaluation.submissions.submission import Submission

Actions = Mapping[tuple[str, int], NDArray[np.float32]]

NEARLY = 0.9  # share of equal control steps from which two submissions are called near-copies
_SAME_SEED = 0.999  # share from which two training seeds count as one
_TOLERANCE = 0.01  # of an action's range; smaller differences count as equal


@dataclass(frozen=True, slots=True)
class Copy:
    """Two submissions with the same actions.

    Attributes:
        name: Name of the other submission.
        share: Share of control steps with equal actions, mean over common tasks, 0 to 1.
        identical: Whether all actions are bit-identical.
    """

    name: str
    share: float
    identical: bool

    def __str__(self) -> str:
        if self.identical:
            return f"Its actions are identical to those of {self.name}."
        return (
            f"{100 * self.share:.0f} % of its actions are nearly the same as those of {self.name}."
        )


def find_copies(actions: Actions, others: Mapping[str, Actions]) -> list[Copy]:
    """Return the submissions whose actions are the same or nearly the same.

    Seeds are matched as they fit best, so that renumbering them hides nothing. Tasks that the other
    submission lacks, or whose traces have another length, count as different.

    Args:
        actions: Actions of one submission, float32 [control steps, A] by task id and training seed.
        others: The same of other submissions, by name.
    """
    found = []
    for name, theirs in others.items():
        share, identical = _compare(actions, theirs)
        if share >= NEARLY:
            found.append(Copy(name, share, identical))
    return sorted(found, key=lambda copy: -copy.share)


def describe_copies(submission: Submission, others: Sequence[Path]) -> tuple[str, ...]:
    """Return a sentence for each other submission with nearly the same actions.

    Args:
        submission: To compare.
        others: Folders of submissions; those that cannot be read or have another suite are skipped.
    """
    read: dict[str, Actions] = {}
    for folder in others:
        if folder.name == submission.manifest.name:
            continue
        try:
            files = read_files(folder)
            manifest = read_manifest(files[MANIFEST], folder.resolve().name)
            if manifest.suite == submission.manifest.suite:
                count = manifest.specs.num_episodes * len(manifest.training_seeds)
                rows = read_rows(files[ROWS], count)
                read[folder.name] = read_actions(files[ACTIONS], rows)
        except (SubmissionError, KeyError):
            continue
    return tuple(str(copy) for copy in find_copies(submission.actions, read))


def check_distinct_seeds(actions: Actions, files: Mapping[str, bytes]) -> None:
    """Refuse a submission that contains the same training more than once.

    Two training seeds count as one if their actions are the same in every task, or if the
    weights of a task's checkpoints are bit-identical.

    Args:
        actions: float32 [control steps, A] by task id and training seed.
        files: Files of the submission, by name.

    Raises:
        SubmissionError: Names the two seeds.
    """
    seeds = sorted({seed for _, seed in actions})
    pairs = [(one, two) for place, one in enumerate(seeds) for two in seeds[place + 1 :]]
    weights = _hash_weights(files)
    for one, two in pairs:
        of_one, of_two = (
            {(task, 0): array for (task, seed), array in actions.items() if seed == chosen}
            for chosen in (one, two)
        )
        if _compare(of_one, of_two)[0] >= _SAME_SEED:
            raise SubmissionError(
                "seeds", f"Training seeds {one} and {two} have the same actions: they are one seed."
            )
        for (task, seed), digest in weights.items():
            if seed == f"seed{one}" and weights.get((task, f"seed{two}")) == digest:
                raise SubmissionError(
                    "seeds",
                    f"{task}: training seeds {one} and {two} have the same weights: they are one "
                    "seed.",
                )


def _compare(ours: Actions, theirs: Actions) -> tuple[float, bool]:
    """Return the share of equal steps, averaged over tasks, and whether all are identical."""
    tasks = {task for task, _ in ours} | {task for task, _ in theirs}
    shares, identical = [], True
    for task in tasks:
        first = [array for (name, _), array in ours.items() if name == task]
        second = [array for (name, _), array in theirs.items() if name == task]
        best = [max((_equal_share(one, two) for two in second), default=0.0) for one in first]
        exact = all(any(np.array_equal(one, two) for two in second) for one in first)
        shares.append(float(np.mean(best)) if best else 0.0)
        identical &= exact and bool(first)
    return (float(np.mean(shares)) if shares else 0.0), identical and bool(shares)


def _equal_share(one: NDArray[Any], two: NDArray[Any]) -> float:
    if one.shape != two.shape or not one.size:
        return 0.0
    span = max(float(np.ptp(one)), float(np.ptp(two)), 1e-6)
    return float((np.abs(one - two) <= _TOLERANCE * span).all(axis=1).mean())


def _hash_weights(files: Mapping[str, bytes]) -> dict[tuple[str, str], str]:
    """Return a hash of all weights of each task and seed folder."""
    hashes: dict[tuple[str, str], list[str]] = {}
    for name, content in sorted(files.items()):
        parts = name.split("/")
        if len(parts) > 3 and parts[0] == CHECKPOINTS and name.endswith(".safetensors"):
            digest = hashlib.sha256(content).hexdigest()
            hashes.setdefault((parts[1], parts[2]), []).append(f"{'/'.join(parts[3:])} {digest}")
    return {key: "\n".join(lines) for key, lines in hashes.items()}
