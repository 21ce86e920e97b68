"""Aggregates over the tasks of a suite: IQM, mean, optimality gap and performance profiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jepabench.envs.registry import list_tasks
from jepabench.evaluation.records import RecordError
from jepabench.evaluation.statistics import aggregates as run_statistics
from jepabench.evaluation.statistics.success_tables import (
    ORACLES,
    RANDOM,
    aggregate_table,
    score_matrix,
)
from jepabench.results.report.panels import INK, as_svg, panel_figure

THRESHOLDS = np.linspace(0, 1, 21)
ALL = "all strata"
_DASHES = ("-", "--", ":", "-.")  # of agents with the same colour
Numbers = Sequence[float]


@dataclass(frozen=True, slots=True)
class Aggregates:
    """Statistics over all tasks of a suite.

    Attributes:
        table: One row per stratum (``ALL`` first) and agent, with ``seeds``, ``cells``, and
            ``iqm``, ``mean`` and ``optimality_gap``, each with ``_low`` and ``_high``.
        profiles: One row per stratum, agent and threshold; ``share`` is the share of runs with
            a higher score.
        scale: ``normalised`` (0 is the random agent, 1 the oracle), or ``raw`` success if a
            reference is missing or the oracle is no better than the random agent.
    """

    table: pd.DataFrame
    profiles: pd.DataFrame
    scale: str


def aggregate(
    records: pd.DataFrame, *, generator: np.random.Generator, num_resamples: int = 5000
) -> Aggregates | None:
    """Return the aggregates of agents that have results for every task and stratum.

    Args:
        records: Rows of ``jepabench.evaluation.records`` of all agents of a suite.
        generator: Random generator of the bootstraps.
        num_resamples: Number of resamples of each bootstrap.

    Returns:
        The aggregates, or None if the records cannot be compared.
    """
    agents = _complete(records)
    if not agents:
        return None
    everyone = [*agents, *(name for name in (RANDOM, *ORACLES) if name in set(records["agent"]))]
    whole = pd.DataFrame(records[records["agent"].isin(everyone)])
    parts = {ALL: whole} | {
        name: pd.DataFrame(whole[whole["stratum"] == name])
        for name in _sort_strata(map(str, whole["stratum"].unique()))
    }
    try:
        scale = "normalised" if _can_be_normalised(parts, agents) else "raw"
        tables, profiles = [], []
        for stratum, part in parts.items():
            normalise = scale == "normalised"
            table = aggregate_table(
                part,
                generator=generator,
                agents=agents,
                normalise=normalise,
                num_resamples=num_resamples,
            )
            table.insert(0, "stratum", stratum)
            tables.append(
                table.drop(columns=[name for name in table.columns if name.startswith("median")])
            )
            profiles += [_profile(part, stratum, agent, normalise) for agent in agents]
    except RecordError:
        return None
    return Aggregates(
        pd.concat(tables, ignore_index=True), pd.concat(profiles, ignore_index=True), scale
    )


def profiles_figure(
    aggregates: Aggregates, *, colours: Mapping[str, str], columns: int = 3
) -> bytes:
    """Draw the performance profiles as SVG: one panel per stratum and one line per agent.

    Agents with the same colour have different dashes.
    """
    dashes: dict[str, str] = {}
    for agent in dict.fromkeys(map(str, aggregates.profiles["agent"])):
        same = sum(colours[other] == colours[agent] for other in dashes)
        dashes[agent] = _DASHES[same % len(_DASHES)]
    panels: dict[str, list[tuple[str, Numbers]]] = {}
    for (stratum, agent), rows in aggregates.profiles.groupby(["stratum", "agent"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        panels.setdefault(str(stratum), []).append((str(agent), rows["share"].to_list()))

    def draw(axes: Axes, lines: Sequence[tuple[str, Numbers]]) -> None:
        for agent, share in lines:
            style = {"color": colours[agent], "linestyle": dashes[agent], "linewidth": 1.5}
            axes.step(THRESHOLDS, share, where="post", label=agent, **style)
        axes.set_xlabel("score above")
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.15, color=INK)

    figure = panel_figure(panels, draw, columns=columns, height=2.2)
    figure.axes[0].set_ylabel("share of runs")
    figure.axes[0].legend(frameon=False, fontsize=7.5)
    return as_svg(figure)


def _sort_strata(strata: Iterable[str]) -> list[str]:
    """Sort strata from near to far, as the registered tasks list them."""
    known = [task.strata for task in list_tasks()]

    def place(name: str) -> int:
        return max((names.index(name) for names in known if name in names), default=0)

    return sorted(strata, key=place)


def _complete(records: pd.DataFrame) -> list[str]:
    """Return the agents under test that have results for every task and stratum."""
    cells = len(records[["task_id", "stratum"]].drop_duplicates())
    pairs = records[["agent", "task_id", "stratum"]].drop_duplicates()["agent"].tolist()
    return [
        name
        for name in dict.fromkeys(pairs)
        if pairs.count(name) == cells and name not in (RANDOM, *ORACLES)
    ]


def _can_be_normalised(parts: Mapping[str, pd.DataFrame], agents: Sequence[str]) -> bool:
    try:
        score_matrix(parts[ALL], agents[0])
    except RecordError:
        return False
    return True


def _profile(records: pd.DataFrame, stratum: str, agent: str, normalise: bool) -> pd.DataFrame:
    share = run_statistics.performance_profile(
        score_matrix(records, agent, normalise=normalise), THRESHOLDS
    )
    return pd.DataFrame(
        {"stratum": stratum, "agent": agent, "threshold": THRESHOLDS, "share": share}
    )
