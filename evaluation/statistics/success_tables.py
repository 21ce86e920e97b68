"""Success tables from episode records. Every number is computed from the rows.

A *cell* is a task, stratum and agent. All agents and training seeds of a table must have been
evaluated on the same episodes; other records are refused, because their differences would not be
due to the agents alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.evaluation.records import RecordError
from jepabench.evaluation.references import CEILINGS, FLOOR, Track, classify_agent
from jepabench.evaluation.statistics import aggregates as run_statistics
from jepabench.evaluation.statistics import intervals as statistics

RANDOM, ORACLES = FLOOR, CEILINGS
_AGGREGATES = {
    "iqm": run_statistics.iqm,
    "mean": run_statistics.mean,
    "median": run_statistics.median,
    "optimality_gap": run_statistics.optimality_gap,
}


def score_table(
    records: pd.DataFrame,
    *,
    random: str = RANDOM,
    oracles: Sequence[str] = ORACLES,
    tracks: Mapping[str, Track] | None = None,
) -> pd.DataFrame:
    """Return one row per task, stratum and agent, in order of first occurrence.

    Columns:
        ``task``, ``stratum``, ``agent``; ``episodes`` per seed and ``seeds``. With ``tracks`` also
        ``kind``: ``floor``, ``learned`` or ``ceiling``.
        ``success_held`` (the headline), ``success_ever``, ``success_final``.
        ``held_low``, ``held_high``, ``interval_over``: see ``intervals.cell_interval``.
        ``normalised``: (success - random) / (oracle - random); NaN without both reference agents,
        or if the oracle is not better than random.
        ``tied_with_best``: the paired difference to the cell's best agent may be 0. Floors and
        ceilings are never the best.
        ``ms_per_step``, ``ms_p95``: medians over episodes of the episode's mean and 95th percentile
        of planning time [ms per control step].
        ``model_steps`` per control step; ``violation_rate``, share of control steps.
        ``joint_ever``, ``strict_held``: see ``EpisodeRecord``.

    Args:
        records: As returned by ``read_records``, for any number of tasks, agents and seeds.
        random: Name of the agent that scores 0.
        oracles: Privileged agents; the first that has records scores 1.
        tracks: Tracks of the agents, from their configuration. Without the track of an agent, only
            a reserved name makes it a floor or a ceiling (``references.classify_agent``).

    Raises:
        RecordError: No records, several splits, or agents or seeds with different episodes. Only
            a ceiling may have fewer episodes than the other agents.
    """
    cells, oracle = _group_cells(records), _find_oracle(records, oracles)
    kinds = {name: classify_agent(name, (tracks or {}).get(name)) for name in set(records["agent"])}
    references = {name for name in kinds if name in (random, *oracles) or kinds[name] != "learned"}
    rows = []
    for (task, stratum), agents in cells.items():
        held = {agent: pivot_outcomes(group) for agent, group in agents.items()}
        tied = _find_ties({name: held[name] for name in held if name not in references})
        for agent, group in agents.items():
            rows.append(
                {"task": task, "stratum": stratum, "agent": agent}
                | ({"kind": kinds[agent]} if tracks is not None else {})
                | _success(group, held[agent])
                | {
                    "normalised": _normalise(held, agent, random, oracle),
                    "tied_with_best": agent in tied,
                }
                | _costs(group)
            )
    return pd.DataFrame(rows)


def comparison_table(
    records: pd.DataFrame, *, pairs: Sequence[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Return one row per task, stratum and pair of agents: their difference on shared episodes.

    Columns:
        ``task``, ``stratum``, ``first``, ``second``.
        ``difference`` of ``success_held`` (first - second), ``low`` and ``high`` (95 %, paired).
        ``probability_of_improvement`` of a training seed of the first over one of the second, with
        ``improvement_low`` and ``improvement_high``.
        ``discordant``: share of episodes that one solves more often than the other.
        ``distinguishable``: 0 is outside the interval of the difference.

    Args:
        records: As for ``score_table``.
        pairs: Agents to compare; all pairs by default.

    Raises:
        RecordError: As for ``score_table``, or a pair names an agent without records.
    """
    rows = []
    for (task, stratum), agents in _group_cells(records).items():
        for first, second in pairs if pairs is not None else combinations(agents, 2):
            for name in (first, second):
                _require_agent(agents, name, task, stratum)
            rows.append(
                {"task": task, "stratum": stratum, "first": first, "second": second}
                | _compare(*_pivot_shared(agents[first], agents[second]))
            )
    return pd.DataFrame(rows)


def pivot_outcomes(records: pd.DataFrame, column: str = "success_held") -> NDArray[np.float64]:
    """Return one column of a cell's records as [S, E]: training seeds and episodes, both sorted."""
    return records.pivot(index="training_seed", columns="index", values=column).to_numpy(
        dtype=np.float64
    )


def score_matrix(
    records: pd.DataFrame,
    agent: str,
    *,
    random: str = RANDOM,
    oracles: Sequence[str] = ORACLES,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Return an agent's scores [runs, cells]: ``success_held`` per training seed and cell.

    Args:
        records: As for ``score_table``.
        agent: Whose scores.
        random, oracles: As for ``score_table``.
        normalise: False for raw success rates, which need no reference agents.

    Raises:
        RecordError: The agent or a reference is missing in a cell, the oracle is not better than
            random, or the agent's seeds differ between cells.
    """
    columns, seeds, oracle = [], None, _find_oracle(records, oracles)
    for (task, stratum), agents in _group_cells(records).items():
        _require_agent(agents, agent, task, stratum)
        held = {name: pivot_outcomes(group) for name, group in agents.items()}
        found = sorted(set(agents[agent]["training_seed"].tolist()))
        if seeds not in (None, found):
            raise RecordError(
                f"{agent}: {task}, {stratum} has training seeds {found}, others have {seeds}."
            )
        seeds = found
        scores = held[agent].mean(axis=1)
        if normalise:
            low, high = _reference_rates(held, random, oracle)
            if not high > low:
                raise RecordError(
                    f"{task}, {stratum}: normalised scores need agents {random!r} and {oracle!r}, "
                    f"the second the better one; their success is {low:.3g} and {high:.3g}. Leave "
                    "this cell out, or use raw scores."
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
    """Return one row per agent: IQM, mean, median and optimality gap over cells, with intervals.

    Columns ``<name>_low`` and ``<name>_high`` are intervals over training seeds, with the strata of
    a task resampled together (``aggregates.aggregate_interval``). They are at least as wide as the
    number of episodes requires, and within 0 and 1 for raw rates. They are NaN for one seed.

    Args:
        records: As for ``score_table``.
        generator: For the bootstraps.
        agents: To include; all but ``random`` and ``oracles`` by default.
        random, oracles, normalise: As for ``score_matrix``.
        num_resamples: Number of resamples of each bootstrap.
    """
    if agents is None:
        agents = [
            name for name in dict.fromkeys(records["agent"]) if name not in (random, *oracles)
        ]
    # The strata of a task share their trained agents.
    cells = _group_cells(records)
    tasks = [task for task, _ in cells]
    numbers = {task: number for number, task in enumerate(dict.fromkeys(tasks))}
    tasks = [numbers[task] for task in tasks]
    rows = []
    for agent in agents:
        scores = score_matrix(records, agent, random=random, oracles=oracles, normalise=normalise)
        reach = _score_reach(cells, agent, random, _find_oracle(records, oracles), normalise)
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
                    reach=reach,
                    generator=generator,
                    num_resamples=num_resamples,
                    groups=tasks,
                )
                low, high = interval.low, interval.high
                if not normalise:
                    low, high = max(low, 0.0), min(high, 1.0)
            row |= {name: float(statistic(scores)), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def _score_reach(
    cells: Mapping[tuple[str, str], Mapping[str, pd.DataFrame]],
    agent: str,
    random: str,
    oracle: str,
    normalise: bool,
) -> float:
    """Return the least half-width of an agent's aggregate, in the unit of its scores."""
    reach = run_statistics.episode_reach([pivot_outcomes(rows[agent]) for rows in cells.values()])
    if not normalise:
        return reach
    spans = []
    for agents in cells.values():
        held = {name: pivot_outcomes(agents[name]) for name in (random, oracle)}
        low, high = _reference_rates(held, random, oracle)
        spans.append(1 / (high - low))
    return reach * float(np.mean(spans))


def _group_cells(records: pd.DataFrame) -> dict[tuple[str, str], dict[str, pd.DataFrame]]:
    """Return records by (task, stratum) and agent.

    Raises:
        RecordError: An agent or seed has other episodes than the rest. Slow ceilings may have
            fewer, the same for each seed.
    """
    if records.empty:
        raise RecordError("There are no records.")
    splits = sorted(records["split"].unique())
    if len(splits) > 1:
        raise RecordError(f"A table needs records of one split, got {', '.join(splits)}.")
    cells: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    for key, group in records.groupby(["task_id", "stratum"], sort=False):
        task, stratum = _pair(key)
        every = set(group["index"])
        for name, run in group.groupby(["agent", "training_seed"], sort=False):
            agent, seed = _pair(name)
            own = set(group.loc[group["agent"] == agent, "index"])
            expected = own if agent in CEILINGS else every
            if len(run) != len(expected) or set(run["index"]) != expected:
                raise RecordError(
                    f"{task}, {stratum}: {agent} with training seed {seed} has {len(run)} rows for "
                    f"{len(expected)} episodes; every agent and seed needs each episode exactly "
                    "once. Finish the evaluation, or leave it out."
                )
        cells[task, stratum] = {
            str(name): rows for name, rows in group.groupby("agent", sort=False)
        }
    return cells


def _pivot_shared(
    first: pd.DataFrame, second: pd.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``pivot_outcomes`` of two agents on the episodes that both have."""
    return (
        pivot_outcomes(first.loc[first["index"].isin(second["index"])]),
        pivot_outcomes(second.loc[second["index"].isin(first["index"])]),
    )


def _pair(key: Any) -> tuple[str, str]:
    return str(key[0]), str(key[1])


def _require_agent(agents: Mapping[str, Any], name: str, task: str, stratum: str) -> None:
    if name not in agents:
        raise RecordError(
            f"{task}, {stratum}: no records of agent {name!r}; there are {', '.join(agents)}."
        )


def _find_oracle(records: pd.DataFrame, oracles: Sequence[str]) -> str:
    present = set(records["agent"])
    return next((name for name in oracles if name in present), oracles[0] if oracles else "")


def _success(group: pd.DataFrame, held: NDArray[np.float64]) -> dict[str, object]:
    interval = statistics.cell_interval(held)
    return {
        "episodes": held.shape[1],
        "seeds": held.shape[0],
        "success_held": interval.estimate,
        "success_ever": float(group["success_ever"].to_numpy().mean()),
        "success_final": float(group["success_final"].to_numpy().mean()),
        "held_low": interval.low,
        "held_high": interval.high,
        "interval_over": interval.over,
    }


def _costs(group: pd.DataFrame) -> dict[str, float]:
    steps = group["steps"].to_numpy()
    return {
        # Agents that plan once per block act at once in between: the median step hides the plan.
        "ms_per_step": 1000 * float(np.median(group["planning_seconds"].to_numpy() / steps)),
        "ms_p95": float(np.median(group["planning_ms_p95"].to_numpy())),
        "model_steps": group["model_steps"].sum() / steps.sum(),
        "violation_rate": group["violations"].sum() / steps.sum(),
        "joint_ever": float(group["joint_ever"].to_numpy().mean()),
        "strict_held": float(group["strict_held"].to_numpy().mean()),
    }


def _compare(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> dict[str, object]:
    gap = statistics.paired_difference(ours, theirs)
    better = run_statistics.improvement_interval(
        *(matrix.mean(axis=1)[:, None] for matrix in (ours, theirs))
    )
    return {
        "difference": gap.estimate,
        "low": gap.low,
        "high": gap.high,
        "probability_of_improvement": better.estimate,
        "improvement_low": better.low,
        "improvement_high": better.high,
        "discordant": float((ours.mean(axis=0) != theirs.mean(axis=0)).mean()),
        "distinguishable": not gap.low <= 0 <= gap.high,
    }


def _reference_rates(
    held: Mapping[str, NDArray[np.float64]], random: str, oracle: str
) -> tuple[float, float]:
    low, high = (float(held[name].mean()) if name in held else np.nan for name in (random, oracle))
    return low, high


def _normalise(
    held: Mapping[str, NDArray[np.float64]], agent: str, random: str, oracle: str
) -> float:
    low, high = _reference_rates(held, random, oracle)
    return float((held[agent].mean() - low) / (high - low)) if high > low else np.nan


def _find_ties(held: Mapping[str, NDArray[np.float64]]) -> set[str]:
    """Return the best agent and those whose paired difference to it may be 0."""
    if not held:
        return set()
    best = max(held, key=lambda name: held[name].mean())
    return {
        name
        for name in held
        if name == best or statistics.paired_difference(held[best], held[name]).low <= 0
    }
