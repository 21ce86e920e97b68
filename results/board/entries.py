"""The submissions of a board: read as what strangers made, every number computed anew from the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.registry import list_tasks
from jepabench.evaluation.protocol import PROTOCOL_VERSION
from jepabench.evaluation.statistics import intervals as statistics
from jepabench.evaluation.statistics.success_tables import ORACLES, RANDOM
from jepabench.evaluation.submissions.diagnostics import WorldReport, read_diagnostics
from jepabench.evaluation.submissions.files import (
    MANIFEST,
    README,
    ROWS,
    SubmissionError,
    read_files,
)
from jepabench.evaluation.submissions.manifest import Manifest, read_manifest
from jepabench.evaluation.submissions.rows import read_rows
from jepabench.evaluation.verification.records import badges_of
from jepabench.results.report.success_table import Kind, agent_kind

Outcomes = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One task and stratum of a submission; rates are within 0 and 1.

    Attributes:
        outcomes: ``success_held`` [S, E], training seeds and episodes.
        others: means by name: ``ever``, ``final``, ``joint``, ``strict``; ``violations`` a control step; ``ms`` and ``p95``
            [ms a control step]; ``model_steps`` a control step.
    """

    task: str
    stratum: str
    outcomes: Outcomes
    others: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A submission as the board shows it.

    Attributes:
        manifest: what it says of itself.
        badges: that a maintainer gave it and that still hold.
        scores: by task and stratum, in the order of the rows.
        old: why it is not compared with others any more; empty if it is.
        readme: what its authors say, Markdown; empty if nothing.
        folder: where it is.
        reports: what it says of its world models, by task; nobody has checked it.
    """

    manifest: Manifest
    badges: tuple[str, ...]
    scores: Mapping[tuple[str, str], Scores]
    old: str = ""
    readme: str = ""
    folder: Path = field(default=Path())
    reports: Sequence[WorldReport] = ()

    @property
    def name(self) -> str:
        """Also of its page."""
        return self.manifest.name

    @property
    def suite(self) -> str:
        """Name of the suite."""
        return self.manifest.suite.name

    @property
    def kind(self) -> Kind:
        """Floor, ceiling, or under test."""
        kind = agent_kind(self.manifest.agent.name)
        return (
            "ceiling"
            if kind == "learned" and self.manifest.agent.track.privilege != "none"
            else kind
        )

    def cost(self, name: str) -> float:
        """Returns the mean over tasks and seeds of ``transitions``, ``train_seconds`` or ``parameters``; NaN if it says nothing."""
        costs = [float(getattr(cost, name)) for cost in self.manifest.costs]
        return float(np.mean(costs)) if costs else np.nan


@dataclass(slots=True)
class Entries:
    """All submissions of a folder.

    Attributes:
        current: those that can be compared, by name.
        old: those of another version of protocol or suite.
        refused: name of the folder and what is wrong with it.
    """

    current: list[Entry] = field(default_factory=list)
    old: list[Entry] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def read_entries(submissions: Path, verified: Path, versions: Mapping[str, int]) -> Entries:
    """Reads all submissions below a folder; one that can not be read is named with the reason.

    Args:
        submissions: a folder of folders.
        verified: where the maintainers' records are (``jepabench.evaluation.verification.records.badges_of``).
        versions: of the suites, by name, as this release has them.
    """
    found = Entries()
    for folder in sorted(path for path in submissions.glob("*") if path.is_dir()):
        try:
            entry = read_entry(folder, verified, versions)
        except SubmissionError as error:
            found.refused.append((folder.name, str(error)))
            continue
        (found.old if entry.old else found.current).append(entry)
    return found


def read_entry(folder: Path, verified: Path, versions: Mapping[str, int]) -> Entry:
    """Reads one submission.

    Raises:
        SubmissionError: manifest or rows are not what they must be.
    """
    files = read_files(folder)
    manifest = read_manifest(files[MANIFEST], folder.resolve().name)
    num_rows = manifest.specs.num_episodes * len(manifest.training_seeds)
    rows = read_rows(files[ROWS], num_rows)
    old = _old(manifest, versions)
    if not old:
        _check_tasks(rows)
    return Entry(
        manifest=manifest,
        badges=tuple(badges_of(folder, verified)),
        scores={(one.task, one.stratum): one for one in scores_of(rows)},
        old=old,
        readme=files.get(README, b"").decode("utf-8", errors="replace"),
        folder=folder,
        reports=() if old else read_diagnostics(files, rows),
    )


def scores_of(rows: pd.DataFrame) -> list[Scores]:
    """Returns the scores of each task and stratum from episode records.

    Raises:
        SubmissionError: a training seed that did not meet the same episodes as the others, or only one.
    """
    rows = rows.sort_values(["training_seed", "index"], kind="stable")
    found = []
    for key, group in rows.groupby(["task_id", "stratum"], sort=False):
        task, stratum = map(str, key)  # pyright: ignore[reportArgumentType]  (pandas: a tuple for a list of keys)
        seeds = len(np.unique(group["training_seed"].to_numpy()))
        index = group["index"].to_numpy()
        if len(group) % seeds or (index.reshape(seeds, -1) != index[: len(group) // seeds]).any():
            raise SubmissionError(
                "rows", f"{task}, {stratum}: training seeds have not met the same episodes."
            )
        if len(group) < 2 * seeds:
            raise SubmissionError("rows", f"{task}, {stratum}: one episode has no interval.")
        found.append(
            Scores(
                task=task,
                stratum=stratum,
                outcomes=group["success_held"].to_numpy(np.float64).reshape(seeds, -1),
                others=_others(group),
            )
        )
    order = {
        key: place for place, key in enumerate(zip(rows["task_id"], rows["stratum"], strict=True))
    }
    return sorted(found, key=lambda one: (one.task, order[one.task, one.stratum]))


def overall(entry: Entry, keys: Sequence[tuple[str, str]]) -> statistics.Interval:
    """Returns mean ``success_held`` of an entry over tasks and strata, each counting the same, with its 95 % interval."""
    return statistics.mean_over_cells(_by_task(entry, keys))


def difference(first: Entry, second: Entry, keys: Sequence[tuple[str, str]]) -> statistics.Interval:
    """Returns by how much ``first`` is better over tasks and strata, on the same episodes, with the 95 % interval."""
    return statistics.mean_over_cells(_by_task(first, keys), _by_task(second, keys))


def normalised(entry: Entry, entries: Sequence[Entry], keys: Sequence[tuple[str, str]]) -> float:
    """Returns the mean of (success - random) / (oracle - random) over tasks and strata; NaN without both references in the suite."""
    low = _reference(entries, entry.suite, [RANDOM])
    high = _reference(entries, entry.suite, ORACLES)
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
        entry.manifest.agent.name: entry for entry in reversed(entries) if entry.suite == suite
    }
    return next((of_suite[name] for name in names if name in of_suite), None)


def _by_task(entry: Entry, keys: Sequence[tuple[str, str]]) -> list[list[Outcomes]]:
    tasks: dict[str, list[Outcomes]] = {}
    for task, stratum in keys:
        tasks.setdefault(task, []).append(entry.scores[task, stratum].outcomes)
    return list(tasks.values())


def _others(group: pd.DataFrame) -> dict[str, float]:
    steps = group["steps"].to_numpy()
    flags = {
        "ever": "success_ever",
        "final": "success_final",
        "joint": "joint_ever",
        "strict": "strict_held",
    }
    return {
        **{name: float(group[column].to_numpy().mean()) for name, column in flags.items()},
        "violations": float(group["violations"].to_numpy().sum() / steps.sum()),
        "ms": float(1000 * np.median(group["planning_seconds"].to_numpy() / steps)),
        "p95": float(np.median(group["planning_ms_p95"].to_numpy())),
        "model_steps": float(group["model_steps"].to_numpy().sum() / steps.sum()),
    }


def _check_tasks(rows: pd.DataFrame) -> None:
    """A page makes worlds from the names in the rows, and a name may ask for a module of anybody's."""
    known = {task.id for task in list_tasks()}
    for task in rows["task_id"].unique():
        if task not in known:
            raise SubmissionError("rows", f"{str(task)!r} is no task of this release.")


def _old(manifest: Manifest, versions: Mapping[str, int]) -> str:
    suite = manifest.suite
    if manifest.protocol_version != PROTOCOL_VERSION:
        return f"protocol {manifest.protocol_version}, now {PROTOCOL_VERSION}"
    if suite.name not in versions:
        return f"suite {suite.name}, which this release does not have"
    if suite.version != versions[suite.name]:
        return f"version {suite.version} of suite {suite.name}, now {versions[suite.name]}"
    return ""
