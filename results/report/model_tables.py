"""Tables of success in changed environments and of the surprise of world models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.evaluation.model_checks.generalization import UNCHANGED
from jepabench.evaluation.statistics import intervals as statistics
from jepabench.evaluation.statistics.success_tables import RANDOM, pivot_outcomes

_CELL = ["task_id", "agent", "factor", "level"]
_EVENT = ["task", "agent", "event", "kind"]


def changes_table(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task, agent and variation, over all strata and training seeds.

    The columns are ``task``, ``agent``, ``factor`` and ``level``; ``held`` with its 95 % interval
    ``low`` and ``high``; ``random``, the success of the random agent under the same variation;
    ``lost``, the paired difference to the unchanged environment on the same episodes, with
    ``lost_low`` and ``lost_high``; ``seeds`` and ``episodes``.

    Args:
        records: Rows of ``jepabench.evaluation.records`` with ``factor`` and ``level``, which are
            ``UNCHANGED`` for the unchanged environment.
    """
    cells = {
        tuple(map(str, key)): _outcomes(group)  # pyright: ignore[reportArgumentType]
        for key, group in records.groupby(_CELL, sort=False)
    }
    rows = []
    for (task, agent, factor, level), held in cells.items():
        interval = statistics.mean_over_cells([held])
        base, floor = cells.get((task, agent, *UNCHANGED)), cells.get((task, RANDOM, factor, level))
        lost = (
            None
            if base is None or (factor, level) == UNCHANGED
            else statistics.mean_over_cells([base], [held])
        )
        rows.append(
            {
                "task": task,
                "agent": agent,
                "factor": factor,
                "level": level,
                "held": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "random": np.nan
                if floor is None
                else float(np.mean([cell.mean() for cell in floor])),
                "lost": np.nan if lost is None else lost.estimate,
                "lost_low": np.nan if lost is None else lost.low,
                "lost_high": np.nan if lost is None else lost.high,
                "seeds": held[0].shape[0],
                "episodes": sum(cell.shape[1] for cell in held),
            }
        )
    return pd.DataFrame(rows)


def surprises_table(tables: Mapping[tuple[str, str, int], pd.DataFrame]) -> pd.DataFrame:
    """Return one row per task, agent and event, averaged over training seeds.

    With several seeds, ``low`` and ``high`` are the lowest and the highest AUROC of a seed. With
    one seed they are the interval over episodes.

    Args:
        tables: Tables from ``evaluation.model_checks.surprise.surprise_table``, by task, agent and
            training seed.
    """
    parts = [
        table.assign(task=task, agent=agent, seed=seed)
        for (task, agent, seed), table in tables.items()
    ]
    rows = []
    for key, group in pd.concat(parts, ignore_index=True).groupby(_EVENT, sort=False):
        numbers = {
            name: group[name].to_numpy(np.float64)
            for name in ("auroc", "low", "high", "untrained", "pairs")
        }
        several = len(group) > 1
        rows.append(
            dict(zip(_EVENT, map(str, key), strict=True))  # pyright: ignore[reportArgumentType]
            | {
                "auroc": numbers["auroc"].mean(),
                "low": numbers["auroc" if several else "low"].min(),
                "high": numbers["auroc" if several else "high"].max(),
                "untrained": numbers["untrained"].mean(),
                "pairs": int(numbers["pairs"].sum()),
                "seeds": len(group),
            }
        )
    return pd.DataFrame(rows)


def _outcomes(group: pd.DataFrame) -> Sequence[NDArray[np.float64]]:
    """Return ``success_held`` [S, E] of each stratum."""
    return [pivot_outcomes(part) for _, part in group.groupby("stratum", sort=False)]
