"""Charts of the success table, as SVG that follows the reader's light or dark theme.

Each chart has one panel per stratum. ``columns`` sets the number of panels side by side, so that
the same chart fits a page and a phone. An agent has the same colour in every chart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jepabench.envs.task import short_name
from jepabench.results.report.panels import (
    COST_MARGIN,
    GREY,
    INK,
    MARKERS,
    PLOT_HEIGHT,
    add_legend,
    as_svg,
    panel_figure,
    percent_ticks,
    shorten,
    style_cost_axes,
)
from jepabench.results.report.success_table import Cell, agent_kinds, agent_order

_ROW_HEIGHT = 0.28  # inches


def success_figure(cells: Sequence[Cell], *, colours: Mapping[str, str], columns: int = 3) -> bytes:
    """Draw success rates as bars with 95 % intervals.

    Filled bars show held success, outlined bars success at any step.

    Args:
        cells: Cells of one task, from ``read_cells``.
        colours: Colour of each agent.
        columns: Number of panels side by side.

    Returns:
        SVG.
    """
    agents = agent_order((cell.agent for cell in cells), agent_kinds(cells))[::-1]
    places = {agent: place for place, agent in enumerate(agents)}

    def draw(axes: Axes, panel: Sequence[Cell]) -> None:
        for cell in panel:
            _draw_bar(axes, places[cell.agent], cell, colours[cell.agent])
        axes.set_yticks(range(len(agents)), [shorten(agent) for agent in agents], parse_math=False)
        axes.set_ylim(-0.6, len(agents) - 0.4)
        axes.set_xlim(0, 112)
        axes.set_xticks(*percent_ticks())
        axes.grid(axis="x", alpha=0.15, color=INK)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)

    height = _ROW_HEIGHT * len(agents) + 0.55
    return as_svg(panel_figure(_by_stratum(cells), draw, columns=columns, height=height))


def cost_figure(
    cells: Sequence[Cell],
    *,
    cost: Callable[[Cell], float],
    label: str,
    colours: Mapping[str, str],
    columns: int = 3,
) -> bytes | None:
    """Draw held success against a cost on a logarithmic axis; up and to the left is better.

    Agents to which the cost does not apply are dashed lines. Points of equal cost are moved apart.

    Args:
        cells: Cells of one task, from ``read_cells``.
        cost: Returns the cost of a cell; 0 and NaN mean that the cost does not apply.
        label: Label and unit of the cost axis.
        colours: Colour of each agent.
        columns: Number of panels side by side.

    Returns:
        SVG, or None if all costs are equal.
    """
    done = [cell for cell in cells if cell.is_done]
    costs = [cost(cell) for cell in done if cost(cell) > 0]
    if not costs or min(costs) == max(costs):
        return None
    # Markers follow the order of the colours, so that an agent has one marker in all charts.
    markers = {agent: MARKERS[place % len(MARKERS)] for place, agent in enumerate(colours)}
    spread = 0.03 * math.log10(max(costs) / min(costs) * COST_MARGIN**2)
    paying = agent_order((cell.agent for cell in done if cost(cell) > 0), agent_kinds(done))

    def draw(axes: Axes, panel: Sequence[Cell]) -> None:
        style_cost_axes(axes, min(costs), max(costs), label)
        ready = [cell for cell in panel if cell.is_done]
        _draw_lines(axes, [cell for cell in ready if not cost(cell) > 0])
        points = sorted((cell for cell in ready if cost(cell) > 0), key=cost)
        for value, group in groupby(points, key=cost):
            peers = list(group)
            for place, cell in enumerate(peers):
                shift = 10 ** (spread * (place - (len(peers) - 1) / 2))
                _draw_point(
                    axes,
                    value * shift,
                    cell,
                    colour=colours[cell.agent],
                    marker=markers[cell.agent],
                )

    figure = panel_figure(_by_stratum(cells), draw, columns=columns, height=PLOT_HEIGHT)
    handles = [
        Line2D(
            [], [], linestyle="", marker=markers[agent], color=colours[agent], label=shorten(agent)
        )
        for agent in paying
    ]
    add_legend(figure, handles)
    return as_svg(figure)


def curves_figure(curves: pd.DataFrame, *, colours: Mapping[str, str], columns: int = 3) -> bytes:
    """Draw training curves: one panel per task and metric, one line per agent and seed.

    Args:
        curves: Rows with ``task, agent, seed, seconds, metric, value``; unknown values leave gaps.
        colours: Colour of each agent.
        columns: Number of panels side by side.

    Returns:
        SVG.
    """
    panels: dict[str, dict[tuple[str, int], list[tuple[float, float]]]] = {}
    for row in curves.to_dict("records"):
        lines = panels.setdefault(f"{short_name(str(row['task']))}: {row['metric']}", {})
        lines.setdefault((str(row["agent"]), int(row["seed"])), []).append(
            (float(row["seconds"]), float(row["value"]))
        )

    def draw(axes: Axes, panel: Sequence[tuple[str, list[tuple[float, float]]]]) -> None:
        for agent, points in panel:
            axes.plot(*zip(*points, strict=True), color=colours[agent], linewidth=1.2)
        axes.grid(alpha=0.15, color=INK)
        axes.set_xlabel("training time [s]")

    items = {
        title: [(agent, points) for (agent, _), points in lines.items()]
        for title, lines in panels.items()
    }
    figure = panel_figure(items, draw, columns=columns, height=PLOT_HEIGHT, share_y=False)
    agents = dict.fromkeys(agent for lines in items.values() for agent, _ in lines)
    add_legend(
        figure, [Line2D([], [], color=colours[agent], label=shorten(agent)) for agent in agents]
    )
    return as_svg(figure)


def _by_stratum(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    strata: dict[str, list[Cell]] = {}
    for cell in cells:
        strata.setdefault(cell.stratum, []).append(cell)
    return strata


def _draw_bar(axes: Axes, place: int, cell: Cell, colour: str) -> None:
    if not cell.is_done:
        axes.text(1.5, place, cell.status, va="center", style="italic", alpha=0.7)
        return
    held, ever, low, high = (
        100 * rate for rate in (cell.success_held, cell.success_ever, cell.held_low, cell.held_high)
    )
    axes.barh(place, held, height=0.62, color=colour)
    axes.barh(place, ever, height=0.62, fill=False, edgecolor=colour, linewidth=1.0)
    axes.plot([low, high], [place, place], color=INK, linewidth=1.3, solid_capstyle="butt")
    end = max(value for value in (held, ever, high) if math.isfinite(value))
    axes.text(end + 1.5, place, f"{held:.0f}", va="center")


def _draw_point(axes: Axes, cost: float, cell: Cell, *, colour: str, marker: str) -> None:
    axes.plot(
        [cost, cost],
        [100 * cell.held_low, 100 * cell.held_high],
        color=colour,
        linewidth=1.2,
        alpha=0.7,
    )
    axes.plot(
        [cost],
        [100 * cell.success_held],
        linestyle="",
        marker=marker,
        color=colour,
        markersize=6.5,
        clip_on=False,
    )


def _draw_lines(axes: Axes, cells: Sequence[Cell]) -> None:
    """Draw dashed lines for agents without this cost; close lines share one label."""
    labels: list[tuple[float, str]] = []
    for cell in sorted(cells, key=lambda cell: cell.success_held):
        held = 100 * cell.success_held
        axes.axhline(held, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
        if labels and held - labels[-1][0] < 7:
            labels[-1] = (held, f"{labels[-1][1]}, {shorten(cell.agent)}")
        else:
            labels.append((held, shorten(cell.agent)))
    for held, text in labels:
        above = held < 90
        label = axes.text(
            0.02,
            held + (1 if above else -1.5),
            text,
            va="bottom" if above else "top",
            parse_math=False,
        )
        label.set(transform=axes.get_yaxis_transform(), fontsize=7.5, alpha=0.75)
