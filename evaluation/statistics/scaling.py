"""What more data buys: the success table at every budget of transitions, for planners and policies alike."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jepabench.evaluation.records import RecordError
from jepabench.evaluation.statistics.success_tables import score_table

COSTS = ("transitions", "train_seconds", "parameters")


def scaling_table(
    records: pd.DataFrame, costs: pd.DataFrame, *, generator: np.random.Generator
) -> pd.DataFrame:
    """Returns a row an agent, task, budget and stratum, and one with the stratum ``all``, which counts every episode alike.

    Columns are those of ``score_table`` and, before them, ``budget``; after them ``transitions``, ``train_seconds`` and
    ``parameters``: what was really spent, the mean over training seeds. Budgets are in ascending order.

    Args:
        records: what ``read_records`` gives, with a column ``budget`` [transitions].
        costs: rows with ``task, agent, budget`` and the columns of ``COSTS``, one a training seed.
        generator: for the bootstraps.

    Raises:
        RecordError: an evaluation whose costs are not known, or records that do not make a table.
    """
    spent: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    for row in costs.to_dict("records"):
        spent.setdefault((row["task"], row["agent"], row["budget"]), []).append(row)
    parts = []
    for budget, group in records.groupby("budget"):
        rows = group.drop(columns="budget")
        table = score_table(
            pd.concat([rows, pooled(rows)], ignore_index=True),
            generator=generator,
            num_resamples=1000,
        )
        table.insert(0, "budget", budget)
        keys = list(zip(table["task"], table["agent"], table["budget"], strict=True))
        if missing := [key for key in keys if key not in spent]:
            raise RecordError(
                f"There are records of {missing[0]}, but nothing says what it cost. Evaluate it again."
            )
        for column in COSTS:
            table[column] = [float(np.mean([row[column] for row in spent[key]])) for key in keys]
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def pooled(records: pd.DataFrame) -> pd.DataFrame:
    """Returns the records of the same episodes as one stratum, ``all``, with numbers that stay apart."""
    number = pd.factorize(records["stratum"])[0]
    return records.assign(
        stratum="all",
        index=records["index"] + number * (int(records["index"].to_numpy().max()) + 1),
    )
