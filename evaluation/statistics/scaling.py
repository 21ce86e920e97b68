"""The success table at every budget of transitions, for planners and policies alike."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jepabench.evaluation.records import RecordError
from jepabench.evaluation.stages.costs import COSTS
from jepabench.evaluation.statistics.success_tables import score_table


def scaling_table(records: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per budget, task, stratum and agent, and one with the stratum ``all``.

    The stratum ``all`` counts every episode alike. The columns are ``budget``, those of
    ``score_table``, and the costs ``transitions``, ``train_seconds`` and ``parameters``, which are
    means over training seeds of what was spent, NaN if that is not stated. Budgets ascend.

    Args:
        records: As returned by ``read_records``, with a column ``budget`` [transitions].
        costs: One row per training seed: ``task``, ``agent``, ``budget`` and ``COSTS``.

    Raises:
        RecordError: An evaluation without costs, or records that ``score_table`` refuses.
    """
    spent: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    for row in costs.to_dict("records"):
        spent.setdefault((row["task"], row["agent"], row["budget"]), []).append(row)
    parts = []
    for budget, group in records.groupby("budget"):
        rows = group.drop(columns="budget")
        table = score_table(pd.concat([rows, pool_strata(rows)], ignore_index=True))
        table.insert(0, "budget", budget)
        keys = list(zip(table["task"], table["agent"], table["budget"], strict=True))
        if missing := [key for key in keys if key not in spent]:
            raise RecordError(
                f"The costs lack (task, agent, budget) = {missing[0]}. Evaluate it again."
            )
        for column in COSTS:
            stated = [np.array([row[column] for row in spent[key]], float) for key in keys]
            table[column] = [float(values.mean()) for values in stated]
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def pool_strata(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with all strata merged into ``all``; episode indices stay distinct."""
    number = pd.factorize(records["stratum"])[0]
    return records.assign(
        stratum="all",
        index=records["index"] + number * (int(records["index"].to_numpy().max()) + 1),
    )
