"""Costs that cannot be true: impossible sizes, and times that contradict each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from jepabench.evaluation.submissions.errors import SubmissionError

MAX_SECONDS = 1e9  # of a training: 30 years
MAX_TRANSITIONS, MAX_PARAMETERS, MAX_MODEL_STEPS = 10**12, 10**13, 10**12
_MIN_SECONDS = 1e-9  # a shorter time that is not zero was not measured
_MAX_EPISODE_SECONDS = 1e6
_SECONDS_PER_MODEL_STEP = 1e-10
_ROUNDING = 1.001


def check_row_costs(rows: pd.DataFrame) -> None:
    """Refuse planning times and model steps that no agent can have needed.

    Raises:
        SubmissionError: Names the first such row, and the rule.
    """
    column = {str(name): rows[name].to_numpy() for name in rows.columns}
    seconds, steps = column["planning_seconds"], column["steps"]
    median, p95 = column["planning_ms_median"] / 1000, column["planning_ms_p95"] / 1000
    # At least half of the control steps take the median or more, and one takes the 95th percentile.
    half, least = steps // 2, np.maximum(1, steps // 20)
    rules: dict[str, Any] = {
        "planning times must be 0 or at least a nanosecond": _measured(seconds)
        & _measured(median)
        & _measured(p95),
        f"planning_seconds must be at most {_MAX_EPISODE_SECONDS:g}": seconds
        <= _MAX_EPISODE_SECONDS,
        "planning_seconds must cover planning_ms_median for half of the steps": seconds * _ROUNDING
        >= median * half,
        "planning_seconds must cover planning_ms_p95 for the slowest steps": seconds * _ROUNDING
        >= p95 * (least - 1),
        "planning_seconds must be above 0 if the milliseconds are": (seconds > 0)
        | ((median == 0) & (p95 == 0)),
        f"model_steps must be at most {MAX_MODEL_STEPS:g}": column["model_steps"]
        <= MAX_MODEL_STEPS,
        "each model step must take time": column["model_steps"] * _SECONDS_PER_MODEL_STEP
        <= seconds,
    }
    for rule, holds in rules.items():
        if not holds.all():
            number = int(holds.argmin())
            costs = (
                "steps",
                "planning_seconds",
                "planning_ms_median",
                "planning_ms_p95",
                "model_steps",
            )
            found = ", ".join(f"{name} {column[name][number]}" for name in costs)
            raise SubmissionError("rows", f"Row {number}: {rule}, got {found}.")


def _measured(values: Any) -> Any:
    return (values == 0) | (values >= _MIN_SECONDS)
