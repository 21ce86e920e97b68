"""A suite in a few numbers: IQM, mean and optimality gap of each agent over tasks, and performance profiles, each stratum and all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jepabench.evaluation.records import RecordError
from jepabench.evaluation.statistics import aggregates as run_statistics
from jepabench.evaluation.statistics.success_tables import (
    ORACLES,
    RANDOM,
    aggregate_table,
    score_matrix,
)
from jepabench.results.report.figures import INK, as_svg, panel_figure

THRESHOLDS = np.linspace(0, 1, 21)
ALL = "all strata"
Numbers = Sequence[float]


@dataclass(frozen=True, slots=True)
class Aggregates:
    """What can be said across tasks.

    Attributes:
        table: a row a stratum (``ALL`` first) and agent: ``seeds``, ``cells``, and ``iqm``, ``mean``, ``optimality_gap`` with ``_low``
            and ``_high``.
        profiles: a row a stratum, agent and threshold: ``share`` of runs with a higher score.
        scale: ``normalised`` (0 random, 1 oracle), or ``raw`` success where a reference lacks or is no better than random.
    """

    table: pd.DataFrame
    profiles: pd.DataFrame
    scale: str


def aggregate(
    records: pd.DataFrame, *, generator: np.random.Generator, num_resamples: int = 5000
) -> Aggregates | None:
    """Returns the aggregates of agents that have every cell of a suite; None if the records can not be compared.

    Args:
        records: of ``jepabench.evaluation.records``, all agents of a suite.
        generator: for the bootstraps.
        num_resamples: of each.
    """
    agents = _complete(records)
    if not agents:
        return None
    everyone = [*agents, *(name for name in (RANDOM, *ORACLES) if name in set(records["agent"]))]
    whole = pd.DataFrame(records[records["agent"].isin(everyone)])
    parts = {ALL: whole} | {
        str(name): pd.DataFrame(part) for name, part in whole.groupby("stratum", sort=False)
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
    """Draws the performance profiles as SVG: a panel a stratum, a line an agent; higher is better."""
    panels: dict[str, list[tuple[str, Numbers]]] = {}
    for (stratum, agent), rows in aggregates.profiles.groupby(["stratum", "agent"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        panels.setdefault(str(stratum), []).append((str(agent), rows["share"].to_list()))

    def draw(axes: Axes, lines: Sequence[tuple[str, Numbers]]) -> None:
        for agent, share in lines:
            axes.step(
                THRESHOLDS, share, where="post", color=colours[agent], linewidth=1.5, label=agent
            )
        axes.set_xlabel("score above")
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.15, color=INK)

    figure = panel_figure(panels, draw, columns=columns, height=2.2)
    figure.axes[0].set_ylabel("share of runs")
    figure.axes[0].legend(frameon=False, fontsize=7.5)
    return as_svg(figure)


def _complete(records: pd.DataFrame) -> list[str]:
    """The agents under test that have every task and stratum; references aside."""
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
