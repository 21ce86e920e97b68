"""The submissions of a board. Contents are untrusted; every number is recomputed from the rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from jepabench.envs.registry import list_tasks
from jepabench.evaluation.protocol import PROTOCOL_VERSION, Suite
from jepabench.evaluation.references import CEILINGS, FLOOR, Track, is_reference
from jepabench.evaluation.statistics import intervals as statistics
from jepabench.evaluation.statistics.suspicions import Row, find_suspicions
from jepabench.evaluation.submissions.arrays import read_actions
from jepabench.evaluation.submissions.copies import Actions, find_copies
from jepabench.evaluation.submissions.diagnostics import WorldReport, read_diagnostics
from jepabench.evaluation.submissions.files import (
    ACTIONS,
    MANIFEST,
    README,
    ROWS,
    SubmissionError,
    read_files,
)
from jepabench.evaluation.submissions.manifest import Manifest, read_manifest
from jepabench.evaluation.submissions.rows import read_rows
from jepabench.evaluation.submissions.submission import read_submission
from jepabench.evaluation.verification.environment import simulator_versions
from jepabench.evaluation.verification.records import find_badges
from jepabench.results.board.scores import Outcomes, Scores, compute_scores
from jepabench.results.report.success_table import Kind

_LOGGER = logging.getLogger(__name__)
_COMPARED = 2000  # control steps per task and seed in which copies are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A submission as the board shows it.

    Attributes:
        manifest: The submitter's description.
        badges: The valid badges that a maintainer recorded.
        scores: By task and stratum, in the order of the rows.
        old: Why it is in the archive; empty if it is current.
        readme: The submitter's README in Markdown, or empty.
        folder: Its folder.
        reports: The submitter's diagnostics of each world model; not verified.
        actions_digest: SHA-256 of its actions.
        copies: Names of other submissions with the same or nearly the same actions.
        suspicions: Sentences about results that contradict what tracks and methods allow.
    """

    manifest: Manifest
    badges: tuple[str, ...]
    scores: Mapping[tuple[str, str], Scores]
    old: str = ""
    readme: str = ""
    folder: Path = field(default=Path())
    reports: Sequence[WorldReport] = ()
    actions_digest: str = ""
    copies: Sequence[str] = ()
    suspicions: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Name of the submission and of its page."""
        return self.manifest.name

    @property
    def label(self) -> str:
        """Name without the suite and its version, as tables show it."""
        suite = self.manifest.suite
        return self.name.removesuffix(f"-{suite.name}-v{suite.version}")

    @property
    def is_ranked(self) -> bool:
        """Whether a maintainer has replayed the actions: other rows are shown apart."""
        return "replayed" in self.badges

    @property
    def can_lead(self) -> bool:
        """Whether a maintainer has re-run the agent: only such rows are printed in bold."""
        return "re-run" in self.badges

    @property
    def searches(self) -> bool:
        """Whether it plans with a model: it states model steps for at least one task."""
        return any(scores.others["model_steps"] > 0 for scores in self.scores.values())

    @property
    def suite(self) -> str:
        """Name of the suite."""
        return self.manifest.suite.name

    @property
    def track(self) -> Track:
        """What the agent may use."""
        track = self.manifest.agent.track
        return Track(track.observation, track.data, track.privilege)

    @property
    def kind(self) -> Kind:
        """Floor, ceiling or agent under test; decided by the track, never by the name."""
        return self.track.kind

    @property
    def is_reference(self) -> bool:
        """Whether normalised scores are computed from it: the suite pins its actions by digest."""
        suite = self.manifest.suite
        return is_reference(
            self.manifest.agent.name, self.actions_digest, (suite.name, suite.version)
        )

    def cost(self, name: str) -> float:
        """Return the mean of one cost over tasks and seeds, or NaN if it is not stated.

        An agent that learns cannot have cost nothing, so its zeros count as not stated.

        Args:
            name: ``transitions``, ``train_seconds`` or ``parameters``.
        """
        stated = [getattr(cost, name) for cost in self.manifest.costs]
        if not stated or any(cost is None for cost in stated):
            return np.nan
        if self.manifest.agent.learns and not any(stated):
            return np.nan
        return float(np.mean(stated))


@dataclass(slots=True)
class Entries:
    """All submissions of a folder.

    Attributes:
        current: Those that can be compared, by name.
        old: Those of another version of the protocol or suite.
        refused: Name of the folder and the reason.
    """

    current: list[Entry] = field(default_factory=list)
    old: list[Entry] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def read_entries(
    submissions: Path,
    verified: Path,
    versions: Mapping[str, int],
    suites: Mapping[str, Suite] | None = None,
) -> Entries:
    """Read all submissions below a folder, and list those that are refused with the reason.

    Args:
        submissions: A folder with one folder per submission.
        verified: Folder of the maintainers' records.
        versions: Current version of each suite.
        suites: Suites of this release by name, for verification level 1; without them, only the
            manifest and the rows are checked.
    """
    found = Entries()
    for folder in sorted(path for path in submissions.glob("*") if path.is_dir()):
        try:
            entry = read_entry(folder, verified, versions, suites)
        except SubmissionError as error:
            found.refused.append((folder.name, str(error)))
            continue
        except (
            Exception
        ) as error:  # the files are a stranger's: no fault in them may stop the board
            _LOGGER.warning("%s cannot be read: %r", folder, error)
            found.refused.append((folder.name, f"cannot be read: {type(error).__name__}: {error}"))
            continue
        (found.old if entry.old else found.current).append(entry)
    found.current = _add_suspicions(_name_copies(found.current))
    return found


def _add_suspicions(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with the sentences about those of them that are suspicious."""
    named: dict[str, list[str]] = {}
    for suite in dict.fromkeys(entry.suite for entry in entries):
        rows = [
            Row(
                name=entry.name,
                agent=entry.manifest.agent.name,
                track=entry.track,
                outcomes={key: scores.outcomes for key, scores in entry.scores.items()},
                planning_ms=_mean_cost(entry, "ms"),
                model_steps=_mean_cost(entry, "model_steps"),
            )
            for entry in entries
            if entry.suite == suite
        ]
        for suspicion in find_suspicions(rows):
            named.setdefault(suspicion.name, []).append(suspicion.reason)
    return [replace(entry, suspicions=tuple(named.get(entry.name, ()))) for entry in entries]


def _mean_cost(entry: Entry, name: str) -> float:
    costs = [scores.others[name] for scores in entry.scores.values()]
    return float(np.mean(costs)) if costs else 0.0


def _name_copies(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with the names of those whose actions are the same or nearly the same."""
    actions: dict[str, dict[str, Actions]] = {}
    for entry in entries:
        try:
            actions.setdefault(entry.suite, {})[entry.name] = _read_first_actions(entry)
        except SubmissionError as error:
            _LOGGER.warning("The actions of %s cannot be read: %s", entry.name, error)
    named = []
    for entry in entries:
        peers = dict(actions.get(entry.suite, {}))
        own = peers.pop(entry.name, {})
        copies = tuple(copy.name for copy in find_copies(own, peers)) if own else ()
        named.append(replace(entry, copies=copies))
    return named


def _read_first_actions(entry: Entry) -> Actions:
    """Read the first control steps of each task and seed; enough to recognise a copy."""
    files = read_files(entry.folder)
    manifest = entry.manifest
    rows = read_rows(files[ROWS], manifest.specs.num_episodes * len(manifest.training_seeds))
    return {key: array[:_COMPARED] for key, array in read_actions(files[ACTIONS], rows).items()}


def read_entry(
    folder: Path,
    verified: Path,
    versions: Mapping[str, int],
    suites: Mapping[str, Suite] | None = None,
) -> Entry:
    """Read one submission. Arguments as for ``read_entries``.

    Raises:
        SubmissionError: Verification level 1 refuses it.
    """
    files = read_files(folder)
    manifest = read_manifest(files[MANIFEST], folder.resolve().name)
    num_rows = manifest.specs.num_episodes * len(manifest.training_seeds)
    rows = read_rows(files[ROWS], num_rows)
    old = _old(manifest, versions)
    if not old:
        _check_tasks(rows)
        if suites is not None:
            read_submission(folder, suites.__getitem__)
    return Entry(
        manifest=manifest,
        badges=tuple(find_badges(folder, verified)),
        scores={(one.task, one.stratum): one for one in compute_scores(rows)},
        old=old,
        readme=files.get(README, b"").decode("utf-8", errors="replace"),
        folder=folder,
        actions_digest=hashlib.sha256(files[ACTIONS]).hexdigest(),
        reports=() if old else read_diagnostics(files, rows),
    )


def overall(entry: Entry, keys: Sequence[tuple[str, str]]) -> statistics.Interval:
    """Return the mean ``success_held`` over tasks and strata with its 95 % interval.

    Every task counts the same, and so does every stratum of a task.
    """
    return statistics.mean_over_cells(_by_task(entry, keys))


def overall_rates(
    entries: Sequence[Entry], keys: Sequence[tuple[str, str]]
) -> dict[str, statistics.Interval]:
    """Return ``overall`` of each entry by name, computed together."""
    groups: dict[tuple[tuple[int, ...], ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(tuple(entry.scores[key].outcomes.shape for key in keys), []).append(entry)
    found: dict[str, statistics.Interval] = {}
    for group in groups.values():
        tasks: dict[str, list[Outcomes]] = {}
        for key in keys:
            outcomes = np.stack([entry.scores[key].outcomes for entry in group])
            tasks.setdefault(key[0], []).append(outcomes)
        rates = statistics.means_over_cells(list(tasks.values()))
        found |= {entry.name: rate for entry, rate in zip(group, rates, strict=True)}
    return found


def difference(first: Entry, second: Entry, keys: Sequence[tuple[str, str]]) -> statistics.Interval:
    """Return the paired difference, first minus second, with its 95 % interval."""
    return statistics.mean_over_cells(_by_task(first, keys), _by_task(second, keys))


def normalised(entry: Entry, entries: Sequence[Entry], keys: Sequence[tuple[str, str]]) -> float:
    """Return the mean of (success - random) / (oracle - random) over tasks and strata.

    NaN if the suite lacks one of the two reference rows, or the oracle is no better than random.
    """
    low = _reference(entries, entry.suite, [FLOOR])
    high = _reference(entries, entry.suite, CEILINGS)
    if low is None or high is None:
        return np.nan
    values = []
    for key in keys:
        if not (key in low.scores and key in high.scores):
            return np.nan
        floor, ceiling = low.scores[key].outcomes.mean(), high.scores[key].outcomes.mean()
        if ceiling <= floor:
            return np.nan
        values.append((entry.scores[key].outcomes.mean() - floor) / (ceiling - floor))
    return float(np.mean(values)) if values else np.nan


def _reference(entries: Sequence[Entry], suite: str, names: Sequence[str]) -> Entry | None:
    of_suite = {
        entry.manifest.agent.name: entry
        for entry in reversed(entries)
        if entry.suite == suite and entry.is_reference
    }
    return next((of_suite[name] for name in names if name in of_suite), None)


def _by_task(entry: Entry, keys: Sequence[tuple[str, str]]) -> list[list[Outcomes]]:
    tasks: dict[str, list[Outcomes]] = {}
    for task, stratum in keys:
        tasks.setdefault(task, []).append(entry.scores[task, stratum].outcomes)
    return list(tasks.values())


def _check_tasks(rows: pd.DataFrame) -> None:
    """Refuse unknown tasks, because making an environment by name could import a module."""
    known = {task.id for task in list_tasks()}
    for task in rows["task_id"].unique():
        if task not in known:
            raise SubmissionError("rows", f"{str(task)!r} is not a task of this release.")


def _old(manifest: Manifest, versions: Mapping[str, int]) -> str:
    suite = manifest.suite
    if manifest.protocol_version != PROTOCOL_VERSION:
        return f"protocol {manifest.protocol_version}, now {PROTOCOL_VERSION}"
    if suite.name not in versions:
        return f"suite {suite.name}, which this release does not have"
    if suite.version != versions[suite.name]:
        return f"version {suite.version} of suite {suite.name}, now {versions[suite.name]}"
    for name, here in simulator_versions().items():
        made = manifest.versions.get(name, here)
        if made != here:  # traces hold for one version of a simulator only
            return f"{name} {made}, now {here}"
    return ""
