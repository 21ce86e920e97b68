"""The scaling chart: success against transitions, training time and planning time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jepabench.results.report.panels import (
    GREY,
    MARKERS,
    PLOT_HEIGHT,
    add_legend,
    agent_colours,
    as_svg,
    panel_figure,
    shorten,
    style_cost_axes,
)
from jepabench.results.report.success_table import agent_order

_TITLES = {
    "transitions": "data",
    "train_seconds": "training",
    "ms_per_step": "planning, largest budget",
}


def scaling_figure(table: pd.DataFrame, *, columns: int = 3) -> bytes:
    """Draw the success on one task, with 95 % intervals, in three panels.

    The panels show success against transitions, training time [s] and planning time [ms per
    control step]. Agents that do not learn are dashed lines in the first two panels. The last panel
    shows the largest budget of each agent.

    Args:
        table: table from ``jepabench.evaluation.statistics.scaling``; the rows of the stratum
            ``all`` are drawn.
        columns: number of panels side by side.

    Returns:
        SVG.
    """
    rows = table.query("stratum == 'all'").to_dict("records")
    agents = agent_order(str(row["agent"]) for row in rows)
    colours, markers = agent_colours(agents), dict(zip(agents, MARKERS * 9, strict=False))
    largest = {
        agent: max(int(row["budget"]) for row in rows if row["agent"] == agent) for agent in agents
    }
    panels = {
        "transitions": [row for row in rows if row["transitions"] > 0],
        "train_seconds": [row for row in rows if row["transitions"] > 0],
        "ms_per_step": [row for row in rows if row["budget"] == largest[str(row["agent"])]],
    }
    labels = {
        "transitions": "transitions (control steps)",
        "train_seconds": "training time [s]",
        "ms_per_step": "ms per control step",
    }

    def draw(axes: Axes, panel: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
        column, points = panel[0]
        for agent in agents:
            line = [row for row in points if row["agent"] == agent]
            costs, held = [row[column] for row in line], [100 * row["success_held"] for row in line]
            axes.plot(
                costs,
                held,
                color=colours[agent],
                marker=markers[agent],
                markersize=4.5,
                linewidth=1.3,
            )
            axes.vlines(
                costs,
                [100 * row["held_low"] for row in line],
                [100 * row["held_high"] for row in line],
                color=colours[agent],
                linewidth=1.0,
                alpha=0.45,
            )
        paid = [row[column] for row in points if row[column] > 0]
        style_cost_axes(axes, min(paid, default=1.0), max(paid, default=10.0), labels[column])

    items = {_TITLES[column]: [(column, points)] for column, points in panels.items()}
    figure = panel_figure(items, draw, columns=columns, height=PLOT_HEIGHT + 0.4)
    figure.axes[0].set_ylabel("held success")
    for axes in figure.axes[:2]:
        for row in rows:
            if row["transitions"] == 0:
                axes.axhline(
                    100 * row["success_held"], color=GREY, linewidth=1.0, linestyle=(0, (4, 3))
                )
    handles = [
        Line2D(
            [],
            [],
            color=colours[agent],
            marker=markers[agent],
            markersize=4.5,
            label=shorten(agent),
        )
        for agent in agents
    ]
    add_legend(figure, handles)
    return as_svg(figure)
