"""Tables from episode records: pure functions, every number recomputed from the rows.

A *cell* is a task, stratum and agent. Agents of a table have met the same episodes, with every training seed; records for
which that is not so are refused, because their differences would not be those of the agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.evaluation.records import RecordError
from jepabench.evaluation.statistics import aggregates as run_statistics
from jepabench.evaluation.statistics import intervals as statistics

RANDOM = "random"
FLOORS = ("random", "hold-still")
ORACLES = ("oracle-cem", "oracle", "expert")
_AGGREGATES = {
    "iqm": run_statistics.iqm,
    "mean": run_statistics.mean,
    "median": run_statistics.median,
    "optimality_gap": run_statistics.optimality_gap,
}


def score_table(
    records: pd.DataFrame,
    *,
    generator: np.random.Generator,
    random: str = RANDOM,
    oracles: Sequence[str] = ORACLES,
    num_resamples: int = 10_000,
) -> pd.DataFrame:
    """Returns a row a task, stratum and agent, in the order in which they first occur.

    Columns: ``task``, ``stratum``, ``agent``; ``episodes`` a seed and ``seeds``; ``success_held`` (the headline),
    ``success_ever``, ``success_final``; ``held_low`` and ``held_high``, the 95 % interval over training seeds and episodes
    (``interval_over`` says if over episodes only); ``normalised``, (success - random) / (oracle - random), NaN without
    both or if the oracle is not better; ``tied_with_best``, the paired difference to the cell's best agent may be 0
    (floors and ``oracles`` aside); ``ms_per_step`` and ``ms_p95``, medians over episodes of an episode's mean and 95th percentile
    [ms a control step]; ``model_steps`` a control step; ``violation_rate``, share of control steps; ``joint_ever`` and
    ``strict_held``, as in ``EpisodeRecord``.

    Args:
        records: what ``read_records`` gives, of any number of tasks, agents and seeds.
        generator: for the paired bootstraps of ``tied_with_best``.
        random: name of the agent that stands for 0.
        oracles: privileged agents; the first that there are records of stands for 1.
        num_resamples: of each paired bootstrap.

    Raises:
        RecordError: no records, several splits, or an agent or seed that did not meet the same episodes as the others.
    """
    cells, oracle = _cells(records), _first_oracle(records, oracles)
    rows = []
    for (task, stratum), agents in cells.items():
        held = {agent: _outcomes(group, "success_held") for agent, group in agents.items()}
        tied = _tied_with_best(
            {name: held[name] for name in held if name not in (random, *FLOORS, *oracles)},
            generator,
            num_resamples,
        )
        for agent, group in agents.items():
            rows.append(
                {"task": task, "stratum": stratum, "agent": agent}
                | _success(group, held[agent])
                | {
                    "normalised": _normalised(held, agent, random, oracle),
                    "tied_with_best": agent in tied,
                    # Agents that plan once a block answer at once in between: the median step would hide the plan.
                    "ms_per_step": 1000
                    * float(
                        np.median(group["planning_seconds"].to_numpy() / group["steps"].to_numpy())
                    ),
                    "ms_p95": _median(group, "planning_ms_p95"),
                    "model_steps": group["model_steps"].sum() / group["steps"].sum(),
                    "violation_rate": group["violations"].sum() / group["steps"].sum(),
                    "joint_ever": float(_outcomes(group, "joint_ever").mean()),
                    "strict_held": float(_outcomes(group, "strict_held").mean()),
                }
            )
    return pd.DataFrame(rows)


def comparison_table(
    records: pd.DataFrame,
    *,
    generator: np.random.Generator,
    pairs: Sequence[tuple[str, str]] | None = None,
    num_resamples: int = 10_000,
) -> pd.DataFrame:
    """Returns a row a task, stratum and pair of agents: what the first is better by, on the same episodes.

    Columns: ``task``, ``stratum``, ``first``, ``second``; ``difference`` of ``success_held`` with ``low`` and ``high``
    (95 %, paired); ``probability_of_improvement`` of a training seed of the first over one of the second;
    ``discordant``, the share of episodes that one solves more often than the other; ``distinguishable``, 0 is outside the interval.

    Args:
        records: as for ``score_table``.
        generator: for the paired bootstraps.
        pairs: which agents to compare; all pairs by default.
        num_resamples: of each paired bootstrap.

    Raises:
        RecordError: as for ``score_table``, or a pair names an agent without records.
    """
    rows = []
    for (task, stratum), agents in _cells(records).items():
        for first, second in pairs if pairs is not None else combinations(agents, 2):
            for name in (first, second):
                if name not in agents:
                    raise RecordError(
                        f"{task}, {stratum}: no records of agent {name!r}; there are {', '.join(agents)}."
                    )
            ours, theirs = (_outcomes(agents[name], "success_held") for name in (first, second))
            gap = statistics.paired_bootstrap(
                ours, theirs, generator=generator, num_resamples=num_resamples
            )
            seeds = [matrix.mean(axis=1)[:, None] for matrix in (ours, theirs)]
            rows.append(
                {
                    "task": task,
                    "stratum": stratum,
                    "first": first,
                    "second": second,
                    "difference": gap.estimate,
                    "low": gap.low,
                    "high": gap.high,
                    "probability_of_improvement": float(
                        run_statistics.probability_of_improvement(*seeds)
                    ),
                    "discordant": float((ours.mean(axis=0) != theirs.mean(axis=0)).mean()),
                    "distinguishable": not gap.low <= 0 <= gap.high,
                }
            )
    return pd.DataFrame(rows)


def score_matrix(
    records: pd.DataFrame,
    agent: str,
    *,
    random: str = RANDOM,
    oracles: Sequence[str] = ORACLES,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Returns the scores [runs, cells] of an agent: ``success_held`` a training seed, task and stratum, for aggregates across tasks.

    Args:
        records: as for ``score_table``.
        agent: whose scores.
        random, oracles: as for ``score_table``.
        normalise: False for raw success rates; the references are not needed then.

    Raises:
        RecordError: the agent or a reference is missing somewhere, the oracle is not better than random, or seeds differ between tasks.
    """
    columns, seeds, oracle = [], None, _first_oracle(records, oracles)
    for (task, stratum), agents in _cells(records).items():
        if agent not in agents:
            raise RecordError(
                f"{task}, {stratum}: no records of agent {agent!r}; there are {', '.join(agents)}."
            )
        held = {name: _outcomes(group, "success_held") for name, group in agents.items()}
        found = sorted(set(agents[agent]["training_seed"].tolist()))
        if seeds not in (None, found):
            raise RecordError(
                f"{agent}: {task}, {stratum} has training seeds {found}, others have {seeds}."
            )
        seeds = found
        scores = held[agent].mean(axis=1)
        if normalise:
            low, high = _references(held, random, oracle)
            if not high > low:
                raise RecordError(
                    f"{task}, {stratum}: normalised scores need agents {random!r} and {oracle!r}, the second the better "
                    f"one; their success is {low:.3g} and {high:.3g}. Leave this cell out, or ask for raw scores."
                )
            scores = (scores - low) / (high - low)
        columns.append(scores)
    return np.stack(columns, axis=1)


def aggregate_table(
    records: pd.DataFrame,
    *,
    generator: np.random.Generator,
    agents: Sequence[str] | None = None,
    random: str = RANDOM,
    oracles: Sequence[str] = ORACLES,
    normalise: bool = True,
    num_resamples: int = 20_000,
) -> pd.DataFrame:
    """Returns a row an agent: IQM, mean, median and optimality gap over tasks and strata, with ``_low`` and ``_high`` of each.

    Intervals are over training seeds (``run_statistics.aggregate_interval``, strata of a task together); NaN for an agent with one seed.

    Args:
        records: as for ``score_table``.
        generator: for the bootstraps.
        agents: which; all but the references by default.
        random, oracles, normalise: as for ``score_matrix``.
        num_resamples: of each bootstrap.
    """
    if agents is None:
        agents = [
            name for name in dict.fromkeys(records["agent"]) if name not in (random, *oracles)
        ]
    # Strata of a task are of the same trained agents.
    tasks = [task for task, _ in _cells(records)]
    numbers = {task: number for number, task in enumerate(dict.fromkeys(tasks))}
    tasks = [numbers[task] for task in tasks]
    rows = []
    for agent in agents:
        scores = score_matrix(records, agent, random=random, oracles=oracles, normalise=normalise)
        row: dict[str, object] = {
            "agent": agent,
            "seeds": scores.shape[0],
            "cells": scores.shape[1],
        }
        for name, statistic in _AGGREGATES.items():
            low = high = np.nan
            if len(scores) > 1:
                interval = run_statistics.aggregate_interval(
                    statistic,
                    scores,
                    generator=generator,
                    num_resamples=num_resamples,
                    groups=tasks,
                )
                low, high = interval.low, interval.high
            row |= {name: float(statistic(scores)), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


# -- private -------------------------------------------------------------------------------------------------------


def _cells(records: pd.DataFrame) -> dict[tuple[str, str], dict[str, pd.DataFrame]]:
    """Returns records by (task, stratum) and agent, after checking that all of a cell's agents met the same episodes."""
    if records.empty:
        raise RecordError("There are no records.")
    splits = sorted(records["split"].unique())
    if len(splits) > 1:
        raise RecordError(f"A table is of one split, got {', '.join(splits)}. Select one.")
    cells: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    for key, group in records.groupby(["task_id", "stratum"], sort=False):
        task, stratum = _pair(key)
        expected = set(group["index"])
        for name, run in group.groupby(["agent", "training_seed"], sort=False):
            if len(run) != len(expected) or set(run["index"]) != expected:
                agent, seed = _pair(name)
                raise RecordError(
                    f"{task}, {stratum}: {agent} with training seed {seed} has {len(run)} rows for {len(expected)} "
                    "episodes; every agent and seed must have each episode exactly once. Finish it, or leave it out."
                )
        cells[task, stratum] = {
            str(name): rows for name, rows in group.groupby("agent", sort=False)
        }
    return cells


def _pair(key: Any) -> tuple[str, str]:
    return str(key[0]), str(key[1])


def _median(group: pd.DataFrame, column: str) -> float:
    return float(np.median(group[column].to_numpy()))


def _first_oracle(records: pd.DataFrame, oracles: Sequence[str]) -> str:
    present = set(records["agent"])
    return next((name for name in oracles if name in present), oracles[0] if oracles else "")


def _outcomes(group: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Returns a flag of one cell as [seeds, episodes]."""
    return group.pivot(index="training_seed", columns="index", values=column).to_numpy(
        dtype=np.float64
    )


def _success(group: pd.DataFrame, held: NDArray[np.float64]) -> dict[str, object]:
    interval = statistics.cell_interval(held)
    return {
        "episodes": held.shape[1],
        "seeds": held.shape[0],
        "success_held": interval.estimate,
        "success_ever": float(_outcomes(group, "success_ever").mean()),
        "success_final": float(_outcomes(group, "success_final").mean()),
        "held_low": interval.low,
        "held_high": interval.high,
        "interval_over": interval.over,
    }


def _references(
    held: Mapping[str, NDArray[np.float64]], random: str, oracle: str
) -> tuple[float, float]:
    low, high = (float(held[name].mean()) if name in held else np.nan for name in (random, oracle))
    return low, high


def _normalised(
    held: Mapping[str, NDArray[np.float64]], agent: str, random: str, oracle: str
) -> float:
    low, high = _references(held, random, oracle)
    return float((held[agent].mean() - low) / (high - low)) if high > low else np.nan


def _tied_with_best(
    held: Mapping[str, NDArray[np.float64]], generator: np.random.Generator, num_resamples: int
) -> set[str]:
    if not held:
        return set()
    best = max(held, key=lambda name: held[name].mean())
    tied = {best}
    for name in held:
        if name == best:
            continue
        gap = statistics.paired_bootstrap(
            held[best], held[name], generator=generator, num_resamples=num_resamples
        )
        if gap.low <= 0:
            tied.add(name)
    return tied
