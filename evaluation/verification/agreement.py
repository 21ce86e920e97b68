"""Does an agent do as well on private episodes as submitted? One pooled test over all cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.evaluation.statistics.suspicions import SEARCH_MS

SIGNIFICANCE = 0.04  # one-sided; at most this share of honest submissions is refused
_PERMUTATIONS = 9999
_COSTS = ("planning_ms", "model_steps")
ProcessorTimes = dict[tuple[str, str], list[float]]
_SEARCH_FACTOR = 2.0  # allows for a machine that is slower than the submitter's
_MODEL_STEP_FACTOR, _MILLISECOND_FACTOR, _MILLISECOND_SLACK = 1.25, 10.0, 20.0


@dataclass(frozen=True, slots=True)
class PooledTest:
    """One-sided permutation test of ``submitted > re-run``.

    Attributes:
        difference: Mean over cells of submitted minus re-run ``success_held``.
        p_value: Chance of at least this difference if both are equally good.
    """

    difference: float
    p_value: float

    @property
    def passed(self) -> bool:
        """Whether the submitted success is not significantly higher."""
        return self.p_value > SIGNIFICANCE


def pooled_test(
    submitted: Sequence[NDArray[Any]],
    again: Sequence[NDArray[Any]],
    *,
    generator: np.random.Generator,
    permutations: int = _PERMUTATIONS,
) -> PooledTest:
    """Test whether submitted success exceeds that of a re-run, over all cells together.

    Submitted and private episodes are drawn alike, so exchanging them changes nothing for an honest
    submission. The test exchanges whole episodes within each cell, with the outcomes of all
    training seeds, and therefore holds its level for any number of episodes, rate and seed effect.

    Args:
        submitted: For each cell, outcomes of the submission [training seeds, episodes].
        again: For each cell, outcomes of the re-run [training seeds, episodes].
        generator: Generator of the permutations.
        permutations: Number of random exchanges.
    """
    observed, exchanged = 0.0, np.zeros(permutations)
    for ours, theirs in zip(submitted, again, strict=True):
        first = np.asarray(ours, dtype=np.float64).mean(axis=0)
        pool = np.concatenate([first, np.asarray(theirs, dtype=np.float64).mean(axis=0)])
        observed += first.mean() - pool[len(first) :].mean()
        order = generator.permuted(np.tile(pool, (permutations, 1)), axis=1)
        exchanged += order[:, : len(first)].mean(axis=1) - order[:, len(first) :].mean(axis=1)
    as_large = int((exchanged >= observed - 1e-12).sum())
    return PooledTest(observed / len(submitted), (1 + as_large) / (1 + permutations))


def compare_success(submitted: pd.DataFrame, again: pd.DataFrame) -> dict[str, Any]:
    """Return the pooled test, and the success of each task and stratum, of episode records."""
    cells, ours, theirs = [], [], []
    for key, rows in again.groupby(["task_id", "stratum"], sort=False):
        task, stratum = map(str, key)  # pyright: ignore[reportArgumentType]
        before = submitted[(submitted["task_id"] == task) & (submitted["stratum"] == stratum)]
        ours.append(_outcomes(before))
        theirs.append(_outcomes(rows))
        rates = {"submitted": float(ours[-1].mean()), "rerun": float(theirs[-1].mean())}
        cells.append({"task_id": task, "stratum": stratum, **rates})
    found = pooled_test(ours, theirs, generator=np.random.default_rng(0))
    return {
        "difference": found.difference,
        "p_value": found.p_value,
        "significance": SIGNIFICANCE,
        "passed": found.passed,
        "cells": cells,
    }


def compare_costs(submitted: pd.DataFrame, again: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return planning milliseconds and model steps per control step, declared and measured."""
    return {
        name: {"submitted": _cost(submitted, name), "rerun": _cost(again, name)} for name in _COSTS
    }


def compare_planning(
    submitted: pd.DataFrame, again: pd.DataFrame, processor_ms: ProcessorTimes
) -> list[dict[str, Any]]:
    """Return planning milliseconds per control step of each task and stratum.

    Args:
        submitted, again: Episode records of the submission and of the re-run.
        processor_ms: Processor time of each batch of the re-run by task and stratum [ms]; cells
            without it lack the key ``processor``.
    """
    found = []
    for key, rows in again.groupby(["task_id", "stratum"], sort=False):
        task, stratum = map(str, key)  # pyright: ignore[reportArgumentType]
        before = submitted[(submitted["task_id"] == task) & (submitted["stratum"] == stratum)]
        times = processor_ms.get((task, stratum))
        found.append(
            {
                "task_id": task,
                "stratum": stratum,
                "submitted": _cost(before, "planning_ms"),
                "rerun": _cost(rows, "planning_ms"),
                **({"processor": float(np.median(times))} if times else {}),
            }
        )
    return found


def find_understated_costs(
    costs: dict[str, dict[str, float]], planning: Sequence[dict[str, Any]]
) -> list[str]:
    """Return a sentence for each cost of the re-run that is far above the declared one.

    Milliseconds depend on the machine and on the sandbox, so only a factor of ten counts, in each
    task and stratum. On a busy machine the time by the clock says nothing, so an agent whose
    processes used little processor time passes. Model steps do not depend on the machine, but
    planners may adapt their effort to the episode: a quarter more is allowed, over all episodes.

    Args:
        costs: From ``compare_costs``.
        planning: From ``compare_planning``.
    """
    found = []
    for cell in planning:
        took = _planning_ms(cell)
        if took > _MILLISECOND_FACTOR * cell["submitted"] + _MILLISECOND_SLACK:
            busy = " If this machine was busy, run the check again later."
            found.append(
                f"{cell['task_id']}, {cell['stratum']}: planning took {took:.3g} ms per control "
                f"step, {cell['submitted']:.3g} declared.{'' if 'processor' in cell else busy}"
            )
    steps = costs["model_steps"]
    if steps["rerun"] > _MODEL_STEP_FACTOR * steps["submitted"]:
        found.append(
            f"It used {steps['rerun']:.4g} model steps per control step, "
            f"{steps['submitted']:.4g} declared."
        )
    return found


def find_unstated_search(
    costs: dict[str, dict[str, float]], planning: Sequence[dict[str, Any]]
) -> list[str]:
    """Return a sentence for each cell in which an agent without data plans as long as a search.

    Such an agent has learned nothing. If it plans for more than twice ``SEARCH_MS`` and states
    no model steps, it may search in a simulator of its own, which an honest submission counts.

    Args:
        costs: From ``compare_costs``.
        planning: From ``compare_planning``.
    """
    if costs["model_steps"]["submitted"] > 0:
        return []
    return [
        f"{cell['task_id']}, {cell['stratum']}: it uses no data and states no model steps, but "
        f"plans for {_planning_ms(cell):.3g} ms per control step. An agent that searches counts "
        "the steps of its model or simulator in `model_steps`."
        for cell in planning
        if _planning_ms(cell) > _SEARCH_FACTOR * SEARCH_MS
    ]


def _planning_ms(cell: dict[str, Any]) -> float:
    """Return the time per control step [ms] by the clock or the processor, whichever is less."""
    return min(cell["rerun"], cell.get("processor", cell["rerun"]))


def _cost(rows: Any, name: str) -> float:
    steps = rows["steps"].to_numpy()
    if name == "model_steps":
        return float(rows["model_steps"].to_numpy().sum() / steps.sum())
    return float(1000 * np.median(rows["planning_seconds"].to_numpy() / steps))


def _outcomes(rows: Any) -> NDArray[np.float64]:
    table = rows.pivot(index="training_seed", columns="index", values="success_held")
    return table.to_numpy(dtype=np.float64)
