"""Generalization of an agent to worlds in which one factor of variation is changed.

Episodes keep their start and goal; one named factor of the world changes
(``jepabench.envs.variations``). If success falls from 90 % to 40 %, the agent may generalise badly
or the world may have become harder. The random floor under the same change separates the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import make
from jepabench.envs.variations.factors import LEVELS, Factor
from jepabench.evaluation.records import EpisodeRecord
from jepabench.evaluation.statistics import intervals as statistics

UNCHANGED = ("-", "none")


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """A factor at a level; ``("-", "none")`` is the unchanged world."""

    factor: str
    level: str

    @property
    def variation(self) -> Mapping[str, str] | None:
        """The argument of ``evaluate_episodes`` and ``GoalEnv.reset``."""
        return None if (self.factor, self.level) == UNCHANGED else {self.factor: self.level}


def list_changes(
    task_id: str, *, factors: Sequence[str] | None = None, levels: Sequence[str] = LEVELS[1:]
) -> list[Change]:
    """Return the unchanged world, then every factor of a task at every level that changes it.

    Factors that only events use (a hidden or doubled object) have no levels and are left out.

    Raises:
        UnknownNameError: No such factor or level.
    """
    known: dict[str, Factor] = {factor.name: factor for factor in make(task_id).variations.factors}
    for name in factors or ():
        if name not in known:
            raise unknown_name(f"variation of {task_id}", name, known)
    for level in levels:
        if level not in LEVELS[1:]:
            raise unknown_name("level of variation", level, LEVELS[1:])
    chosen = [known[name] for name in factors] if factors else list(known.values())
    changes = [
        Change(factor.name, level)
        for factor in chosen
        for level in levels
        if {"mild": factor.mild, "hard": factor.hard}[level] is not None
    ]
    return [Change(*UNCHANGED), *changes]


def generalization_table(
    outcomes: Mapping[Change, Sequence[EpisodeRecord]],
    floors: Mapping[Change, Sequence[EpisodeRecord]],
) -> pd.DataFrame:
    """Return one row per change.

    Columns:
        ``factor``, ``level``.
        ``held`` with ``low`` and ``high`` (95 %, over episodes) and ``ever``: the agent's success.
        ``random``: ``held`` of the random agent under the same change.
        ``lost`` with ``lost_low`` and ``lost_high``: the paired difference to the unchanged world.
        ``episodes``.

    Args:
        outcomes: Records of the agent for each change, including the unchanged world; all have the
            same episodes in the same order.
        floors: The same for the random agent; changes may be missing.
    """
    base = _held(outcomes[Change(*UNCHANGED)])
    rows = []
    for change, records in outcomes.items():
        held = _held(records)
        interval = statistics.cell_interval(held)
        gap = statistics.paired_difference(base, held)
        rows.append(
            {
                "factor": change.factor,
                "level": change.level,
                "held": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "ever": float(np.mean([record.success_ever for record in records])),
                "random": float(_held(floors[change]).mean()) if change in floors else np.nan,
                "lost": gap.estimate,
                "lost_low": gap.low,
                "lost_high": gap.high,
                "episodes": len(records),
            }
        )
    return pd.DataFrame(rows)


def _held(records: Sequence[EpisodeRecord]) -> NDArray[np.float64]:
    return np.array([[record.success_held for record in records]], np.float64)
