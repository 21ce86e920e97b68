"""Checks of a submission against its suite and against itself, without the simulator."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jepabench.evaluation.protocol import PROTOCOL_VERSION, Suite
from jepabench.evaluation.submissions.costs import check_row_costs
from jepabench.evaluation.submissions.errors import SubmissionError
from jepabench.evaluation.submissions.files import MANIFEST
from jepabench.evaluation.submissions.manifest import Aggregate, Manifest, SpecsDigest

SUCCESSES = ("success_held", "success_ever", "success_final", "joint_ever", "strict_held")
_EXACT = (
    "agent",
    "task_id",
    "split",
    "stratum",
    "training_seed",
    "index",
)  # columns that the suite decides
_TOLERANCE = 1e-9  # of aggregates; sums in another order


def expected_rows(suite: Suite, agent: str, training_seeds: Sequence[int]) -> pd.DataFrame:
    """Return the rows that a submission must have, in order: the columns that name an episode."""
    return pd.DataFrame(
        [
            (agent, spec.task_id, spec.split, spec.stratum, seed, spec.index)
            for task in suite.tasks
            for seed in training_seeds
            for spec in suite.specs(task)
        ],
        columns=pd.Index(_EXACT),
    )


def specs_digest(suite: Suite) -> SpecsDigest:
    """Return the number of a suite's episodes and a hash of their names and seeds."""
    specs = [spec for task in suite.tasks for spec in suite.specs(task)]
    text = "".join(f"{spec.key} {spec.seed} {spec.planner_seed}\n" for spec in specs)
    return SpecsDigest(num_episodes=len(specs), sha256=hashlib.sha256(text.encode()).hexdigest())


def aggregates(rows: pd.DataFrame) -> list[Aggregate]:
    """Return the means of each task and stratum."""
    return [
        Aggregate(
            task_id=str(task),
            stratum=str(stratum),
            seeds=len(np.unique(group["training_seed"].to_numpy())),
            episodes=len(np.unique(group["index"].to_numpy())),
            violation_rate=float(
                group["violations"].to_numpy().sum() / group["steps"].to_numpy().sum()
            ),
            **{name: float(group[name].to_numpy().mean()) for name in SUCCESSES},
        )
        for (task, stratum), group in rows.groupby(["task_id", "stratum"], sort=False)  # pyright: ignore[reportGeneralTypeIssues]
    ]


def check_files(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Refuse files that differ from those in the manifest."""
    found = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name != MANIFEST
    }
    for name in sorted(found.keys() | manifest.files.keys()):
        if name not in found:
            raise SubmissionError("files", f"The manifest lists {name!r}, which is missing.")
        if found[name] != manifest.files.get(name):
            said = manifest.files.get(name, "nothing")
            raise SubmissionError(
                "files", f"{name}: its SHA-256 is {found[name]}, the manifest says {said}."
            )


def resolve_suite(manifest: Manifest, find_suite: Callable[[str], Suite]) -> Suite:
    """Return the suite that a manifest names, if this release has that version of it."""
    if manifest.protocol_version != PROTOCOL_VERSION:
        raise SubmissionError(
            "suite",
            f"It follows protocol {manifest.protocol_version}, this release has "
            f"{PROTOCOL_VERSION}. "
            "Numbers of different protocols are not compared; run it again with this release.",
        )
    try:
        suite = find_suite(manifest.suite.name)
    except KeyError as error:
        raise SubmissionError("suite", str(error)) from error
    if manifest.suite.version != suite.version:
        raise SubmissionError(
            "suite",
            f"It is for version {manifest.suite.version} of suite {suite.name}, this release has "
            f"{suite.version}. Run it again.",
        )
    return suite


def check_seeds(manifest: Manifest, suite: Suite) -> None:
    """Refuse training seeds, or costs, other than the suite's."""
    needed = suite.training_seeds if manifest.agent.learns else (0,)
    if manifest.training_seeds != needed:
        raise SubmissionError(
            "rows",
            f"Suite {suite.name} has the training seeds {list(needed)}, got "
            f"{list(manifest.training_seeds)}. None may be added or left out.",
        )
    expected = [(task.task_id, seed) for task in suite.tasks for seed in needed]
    found = [(cost.task_id, cost.training_seed) for cost in manifest.costs]
    if found != expected:
        raise SubmissionError(
            "manifest",
            f"costs must have one entry per task and seed, {expected} in this order, got {found}.",
        )


def check_specs(manifest: Manifest, suite: Suite) -> None:
    """Refuse episodes other than the suite's."""
    if manifest.specs != specs_digest(suite):
        raise SubmissionError(
            "suite",
            f"Its episodes are not those of suite {suite.name} (specs: {manifest.specs}, must be "
            f"{specs_digest(suite)}).",
        )


def check_episodes(rows: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Refuse rows unless each episode of the suite occurs once, in order."""
    names = list(_EXACT)
    found = rows[names].reset_index(drop=True)
    if found.equals(expected):
        return
    have, want = (list(frame.itertuples(index=False, name=None)) for frame in (found, expected))
    known = set(want)
    for number, row in enumerate(have):
        if row not in known:
            raise SubmissionError(
                "rows",
                f"Row {number} is {_words(row)}, which is not an episode of this suite and agent.",
            )
    repeated = found.duplicated().to_numpy()
    if repeated.any():
        first = _words(have[int(repeated.argmax())])
        raise SubmissionError(
            "rows",
            f"{repeated.sum()} episodes are duplicated and as many are missing; the first is "
            f"{first}.",
        )
    number = next(
        number for number, (one, other) in enumerate(zip(have, want, strict=True)) if one != other
    )
    raise SubmissionError(
        "rows",
        f"Rows are not in the suite's order: row {number} is {_words(have[number])}, must be "
        f"{_words(want[number])}.",
    )


def _words(row: tuple[Any, ...]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in zip(_EXACT, row, strict=True))


def check_rows(rows: pd.DataFrame) -> None:
    """Refuse rows that contradict themselves.

    Raises:
        SubmissionError: Names the first such row.
    """
    column = {str(name): rows[name].to_numpy() for name in rows.columns}
    steps, first, violations, return_ = (
        column[name] for name in ("steps", "first_success_step", "violations", "return_")
    )
    ever, final, held = column["success_ever"], column["success_final"], column["success_held"]
    start, end, least = column["distance_start"], column["distance_final"], column["distance_min"]
    rules = {
        "steps must be at least 1": steps >= 1,
        "reference_steps must be at least 1": column["reference_steps"] >= 1,
        "distances must be at least 0": (start >= 0) & (end >= 0) & (least >= 0),
        "distance_min must be the smallest distance": (least <= start) & (least <= end),
        "first_success_step must be a step after a success, and -1 otherwise": np.where(
            ever, (first >= 1) & (first <= steps), first == -1
        ),
        "success_final and success_held need success_ever": ever | ~(final | held),
        "strict_held needs success_held": held | ~column["strict_held"],
        "violations must be from 0 to steps": (violations >= 0) & (violations <= steps),
        "return_ must be the sum of sparse rewards": (return_ <= 0)
        & (return_ >= -steps)
        & (return_ % 1 == 0),
        "model_steps must be at least 0": column["model_steps"] >= 0,
        "planning times must be at least 0": (column["planning_seconds"] >= 0)
        & (column["planning_ms_median"] >= 0),
        "planning_ms_p95 must not be below the median": column["planning_ms_p95"]
        >= column["planning_ms_median"],
    }
    for rule, holds in rules.items():
        if not holds.all():
            number = int(holds.argmin())
            values = rows.iloc[number].to_dict()
            raise SubmissionError("rows", f"Row {number}: {rule}, got {values}.")
    check_row_costs(rows)


def check_aggregates(manifest: Manifest, rows: pd.DataFrame) -> None:
    """Refuse aggregates that do not follow from the rows."""
    recomputed = aggregates(rows)
    if len(recomputed) != len(manifest.aggregates):
        raise SubmissionError(
            "aggregates",
            f"There are {len(recomputed)} cells, the manifest has aggregates of "
            f"{len(manifest.aggregates)}.",
        )
    for said, true in zip(manifest.aggregates, recomputed, strict=True):
        for name, value in true.model_dump().items():
            claimed = getattr(said, name)
            same = (
                abs(claimed - value) <= _TOLERANCE if isinstance(value, float) else claimed == value
            )
            if not same:
                raise SubmissionError(
                    "aggregates",
                    f"{true.task_id}, {true.stratum}: {name} is {value} by the rows, the manifest "
                    f"says {claimed}.",
                )
