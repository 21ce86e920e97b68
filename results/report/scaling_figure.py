"""The scaling chart: success against transitions, training time and planning time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jepabench.results.report.families import FAMILIES, classify_families
from jepabench.results.report.panels import (
    GREY,
    MARKERS,
    cost_figure,
    shorten,
    style_cost_axes,
)
from jepabench.results.report.success_table import agent_order

_TITLES = {
    "transitions": "data",
    "train_seconds": "training",
    "ms_per_step": "planning, largest budget",
}
_LABELS = {
    "transitions": "transitions (control steps)",
    "train_seconds": "training time [s]",
    "ms_per_step": "ms per control step",
}

Row = Mapping[str, Any]


def scaling_figure(table: pd.DataFrame, *, columns: int = 3) -> bytes:
    """Draw the success on one task, with 95 % intervals, in three panels.

    The panels show success against transitions, training time [s] and planning time [ms per
    control step]. Agents that do not learn are dashed lines in the first two panels. The last panel
    shows the largest budget of each agent. Colours are those of families (planner, RL, imitation),
    markers those of agents.

    Args:
        table: Table from ``jepabench.evaluation.statistics.scaling``; the rows of the stratum
            ``all`` are drawn.
        columns: Number of panels side by side.

    Returns:
        SVG.
    """
    rows = table.query("stratum == 'all'").to_dict("records")
    agents = agent_order(str(row["agent"]) for row in rows)
    markers = dict(zip(agents, MARKERS * 9, strict=False))
    colours = {agent: FAMILIES[family] for agent, family in classify_families(rows).items()}
    largest = {
        agent: max(int(row["budget"]) for row in rows if row["agent"] == agent) for agent in agents
    }
    panels = {
        "transitions": [row for row in rows if row["transitions"] > 0],
        "train_seconds": [row for row in rows if row["transitions"] > 0],
        "ms_per_step": [row for row in rows if row["budget"] == largest[str(row["agent"])]],
    }

    untrained = [100 * row["success_held"] for row in rows if row["transitions"] == 0]

    def draw(axes: Axes, panel: Sequence[tuple[str, Sequence[Row]]]) -> None:
        column, points = panel[0]
        for agent in agents:
            line = [row for row in points if row["agent"] == agent]
            _draw_line(axes, line, column, colour=colours[agent], marker=markers[agent])
        for held in untrained if column != "ms_per_step" else ():
            axes.axhline(held, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
        paid = [row[column] for row in points if row[column] > 0]
        style_cost_axes(axes, min(paid, default=1.0), max(paid, default=10.0), _LABELS[column])

    items = {_TITLES[column]: [(column, points)] for column, points in panels.items()}
    handles = [
        _make_handle(agent, colour=colours[agent], marker=markers[agent]) for agent in agents
    ]
    return cost_figure(items, draw, handles, columns=columns, ylabel="held success")


def _draw_line(axes: Axes, line: Sequence[Row], column: str, *, colour: str, marker: str) -> None:
    """Draw the success of one agent against a cost, with intervals."""
    costs, held = [row[column] for row in line], [100 * row["success_held"] for row in line]
    axes.plot(costs, held, color=colour, marker=marker, markersize=4.5, linewidth=1.3)
    axes.vlines(
        costs,
        [100 * row["held_low"] for row in line],
        [100 * row["held_high"] for row in line],
        color=colour,
        linewidth=1.0,
        alpha=0.45,
    )


def _make_handle(agent: str, *, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, markersize=4.5, label=shorten(agent))
