"""Scores of a submission on each task and stratum, computed from its episode records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.evaluation.submissions.errors import SubmissionError

Outcomes = NDArray[np.float64]
_FLAGS = {
    "ever": "success_ever",
    "final": "success_final",
    "joint": "joint_ever",
    "strict": "strict_held",
}
_COLUMNS = (
    "task_id",
    "stratum",
    "training_seed",
    "index",
    "success_held",
    *_FLAGS.values(),
    "steps",
    "violations",
    "planning_seconds",
    "planning_ms_p95",
    "model_steps",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of a submission on one task and stratum. Rates are between 0 and 1.

    Attributes:
        task: Id of the task.
        stratum: Name of the stratum.
        outcomes: ``success_held``, training seeds x episodes.
        others: Means by name: ``ever``, ``final``, ``joint`` and ``strict`` success; and per
            control step ``violations``, ``ms`` and ``p95`` [ms] and ``model_steps``.
    """

    task: str
    stratum: str
    outcomes: Outcomes
    others: Mapping[str, float]


def compute_scores(rows: pd.DataFrame) -> list[Scores]:
    """Return the scores of each task and stratum from episode records, sorted by task.

    Raises:
        SubmissionError: The training seeds have different episodes, or a cell has only one.
    """
    rows = rows.sort_values(["training_seed", "index"], kind="stable")
    cells = rows.groupby(["task_id", "stratum"], sort=False).ngroup().to_numpy()
    columns = {name: rows[name].to_numpy() for name in _COLUMNS}
    found = []
    for cell in range(cells.max(initial=-1) + 1):
        group = {name: column[cells == cell] for name, column in columns.items()}
        task, stratum = str(group["task_id"][0]), str(group["stratum"][0])
        seeds, index = len(np.unique(group["training_seed"])), group["index"]
        if len(index) % seeds or (index.reshape(seeds, -1) != index[: len(index) // seeds]).any():
            raise SubmissionError(
                "rows", f"{task}, {stratum}: training seeds have different episodes."
            )
        if len(index) < 2 * seeds:
            raise SubmissionError(
                "rows", f"{task}, {stratum}: a cell needs at least two episodes per seed."
            )
        found.append(
            Scores(
                task=task,
                stratum=stratum,
                outcomes=group["success_held"].astype(np.float64).reshape(seeds, -1),
                others=_others(group),
            )
        )
    return sorted(found, key=lambda one: one.task)


def _others(group: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    steps = group["steps"]
    return {
        **{name: float(group[column].mean()) for name, column in _FLAGS.items()},
        "violations": float(group["violations"].sum() / steps.sum()),
        "ms": float(1000 * np.median(group["planning_seconds"] / steps)),
        "p95": float(np.median(group["planning_ms_p95"])),
        "model_steps": float(group["model_steps"].sum() / steps.sum()),
    }
