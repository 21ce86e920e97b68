"""Charts of the success table, as SVG that follows the reader's light or dark theme.

Each chart has one panel a stratum; ``columns`` arranges them, so that the same chart fits a page and a phone. Colours are
Paul Tol's bright scheme (told apart with any colour vision, on white and on black), one an agent throughout; floors and
ceilings are grey, because they are there to be read against.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from jepabench.envs.task import short_name
from jepabench.results.report.success_table import Cell, agent_kind, agent_order, count

_BRIGHT = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#E69F00", "#9988DD")
_MARKERS = "oDsv^PX<>dph"
_GREY = "#8B929C"
FAMILIES = {
    "planner": "#4477AA",
    "RL": "#EE6677",
    "imitation": "#C99700",
    "floor or ceiling": _GREY,
}
_IMITATION = re.compile(r"(^|-)(gcbc|bc|inverse)(-|$)")
# Drawn as this colour, then replaced: SVG knows the reader's theme, matplotlib does not.
INK = "#010203"
_THEME = (
    "<style>:root{color:#24292f}@media(prefers-color-scheme:dark){:root{color:#d5dae1}}</style>"
)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "jepabench",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
}
# What is really drawn with. The layout is made with DejaVu Sans, which is wider than any of these, so nothing is cut.
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_TITLES = {
    "transitions": "data",
    "train_seconds": "training",
    "ms_per_step": "deciding, largest budget",
}
_PANEL_WIDTH, _ROW_HEIGHT, _PLOT_HEIGHT = 3.4, 0.28, 2.2  # inches
_MARGIN = 2.5  # factor between the outermost costs and the ends of their axis

Item = TypeVar("Item")


def agent_colours(agents: Iterable[str]) -> dict[str, str]:
    """Return a distinct colour for each agent, in order; floors and ceilings are grey."""
    agents = list(dict.fromkeys(agents))
    learned = [agent for agent in agents if agent_kind(agent) == "learned"]
    colours = {agent: _BRIGHT[place % len(_BRIGHT)] for place, agent in enumerate(learned)}
    return {agent: colours.get(agent, _GREY) for agent in agents}


def family_colours(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the colour of each agent's family: planner, RL, imitation, or floor and ceiling.

    An agent that uses model steps is a planner. Imitation is behaviour cloning and inverse models.
    """
    planners: dict[str, bool] = {}
    for cell in cells:
        planners[cell.agent] = planners.get(cell.agent, False) or cell.model_steps > 0
    return {agent: FAMILIES[_classify(agent, plans)] for agent, plans in planners.items()}


def _classify(agent: str, plans: bool) -> str:
    if agent_kind(agent) != "learned":
        return "floor or ceiling"
    if plans:
        return "planner"
    return "imitation" if _IMITATION.search(agent) else "RL"


def success_figure(cells: Sequence[Cell], *, colours: Mapping[str, str], columns: int = 3) -> bytes:
    """Draws success rates as bars: filled where it was held, outlined where it was ever reached, with 95 % intervals.

    Args:
        cells: of one task, from ``read_cells``.
        colours: of each agent.
        columns: panels side by side.

    Returns:
        SVG.
    """
    agents = agent_order(cell.agent for cell in cells)[::-1]
    places = {agent: place for place, agent in enumerate(agents)}

    def draw(axes: Axes, panel: Sequence[Cell]) -> None:
        for cell in panel:
            _draw_bar(axes, places[cell.agent], cell, colours[cell.agent])
        axes.set_yticks(range(len(agents)), [_name(agent) for agent in agents], parse_math=False)
        axes.set_ylim(-0.6, len(agents) - 0.4)
        axes.set_xlim(0, 112)
        axes.set_xticks(*_percent_ticks())
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
    """Draws success that was held against a cost, on a logarithmic axis: up and to the left is better.

    Agents to which the cost does not apply are dashed lines; those with the same cost stand side by side.

    Args:
        cells: of one task, from ``read_cells``.
        cost: what a cell cost; 0 and NaN: it does not apply.
        label: words and unit of the axis.
        colours: of each agent.
        columns: panels side by side.

    Returns:
        SVG, or None if no two agents differ in cost: there is nothing to see.
    """
    done = [cell for cell in cells if cell.is_done]
    costs = [cost(cell) for cell in done if cost(cell) > 0]
    if not costs or min(costs) == max(costs):
        return None
    # An agent's place among all colours decides, so that its marker is the same in every chart.
    markers = {agent: _MARKERS[place % len(_MARKERS)] for place, agent in enumerate(colours)}
    spread = 0.03 * math.log10(max(costs) / min(costs) * _MARGIN**2)
    paying = agent_order(cell.agent for cell in done if cost(cell) > 0)

    def draw(axes: Axes, panel: Sequence[Cell]) -> None:
        _cost_axes(axes, min(costs), max(costs), label)
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

    figure = panel_figure(_by_stratum(cells), draw, columns=columns, height=_PLOT_HEIGHT)
    handles = [
        Line2D(
            [], [], linestyle="", marker=markers[agent], color=colours[agent], label=_name(agent)
        )
        for agent in paying
    ]
    _add_legend(figure, handles)
    return as_svg(figure)


def curves_figure(curves: pd.DataFrame, *, colours: Mapping[str, str], columns: int = 3) -> bytes:
    """Draws training curves: one panel a task and metric, one line an agent and seed.

    Args:
        curves: rows with ``task, agent, seed, seconds, metric, value``; unknown values leave gaps.
        colours: of each agent.
        columns: panels side by side.

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
    figure = panel_figure(items, draw, columns=columns, height=_PLOT_HEIGHT, share_y=False)
    agents = dict.fromkeys(agent for lines in items.values() for agent, _ in lines)
    _add_legend(
        figure, [Line2D([], [], color=colours[agent], label=_name(agent)) for agent in agents]
    )
    return as_svg(figure)


def scaling_figure(table: pd.DataFrame, *, columns: int = 3) -> bytes:
    """Draws success of one task against transitions, training seconds and milliseconds a control step, with 95 % intervals.

    Args:
        table: from ``jepabench.evaluation.statistics.scaling``; the rows of all strata together are drawn.
        columns: panels side by side.

    Returns:
        SVG. Agents that do not learn are dashed lines in the first two panels; the last shows the largest budget of each.
    """
    rows = table.query("stratum == 'all'").to_dict("records")
    agents = agent_order(str(row["agent"]) for row in rows)
    colours, markers = agent_colours(agents), dict(zip(agents, _MARKERS * 9, strict=False))
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
        "ms_per_step": "ms a control step",
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
        _cost_axes(axes, min(paid, default=1.0), max(paid, default=10.0), labels[column])

    items = {_TITLES[column]: [(column, points)] for column, points in panels.items()}
    figure = panel_figure(items, draw, columns=columns, height=_PLOT_HEIGHT + 0.4)
    figure.axes[0].set_ylabel("held success")
    for axes in figure.axes[:2]:
        for row in rows:
            if row["transitions"] == 0:
                axes.axhline(
                    100 * row["success_held"], color=_GREY, linewidth=1.0, linestyle=(0, (4, 3))
                )
    handles = [
        Line2D(
            [], [], color=colours[agent], marker=markers[agent], markersize=4.5, label=_name(agent)
        )
        for agent in agents
    ]
    _add_legend(figure, handles)
    return as_svg(figure)


def panel_figure(
    panels: Mapping[str, Sequence[Item]],
    draw: Callable[[Axes, Sequence[Item]], None],
    *,
    columns: int,
    height: float,
    share_y: bool = True,
) -> Figure:
    """Returns a figure with a titled panel for each entry, drawn by ``draw``."""
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    with matplotlib.rc_context(_STYLE):  # pyright: ignore[reportArgumentType]  (its stub wants literal keys)
        figure = Figure(figsize=(_PANEL_WIDTH * columns + 0.7, height * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
        for axes, (title, items) in zip(grid.ravel(), panels.items(), strict=False):
            draw(axes, items)
            axes.set_title(_name(title), loc="left", fontweight="bold", parse_math=False)
            axes.spines[["top", "right"]].set_visible(False)
            axes.patch.set_visible(False)
            axes.set_axisbelow(True)
        for axes in grid.ravel()[len(panels) :]:
            axes.set_visible(False)
    return figure


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
    """Dashed lines for agents without this cost; those that lie close share one label."""
    labels: list[tuple[float, str]] = []
    for cell in sorted(cells, key=lambda cell: cell.success_held):
        held = 100 * cell.success_held
        axes.axhline(held, color=_GREY, linewidth=1.0, linestyle=(0, (4, 3)))
        if labels and held - labels[-1][0] < 7:
            labels[-1] = (held, f"{labels[-1][1]}, {_name(cell.agent)}")
        else:
            labels.append((held, _name(cell.agent)))
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


def log_axis(axes: Axes, *, fine: bool) -> None:
    """Makes the x axis logarithmic, with a tick a decade, or, if ``fine``, three."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if fine else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if value < 1000 else count(value))
    )


def _cost_axes(axes: Axes, low: float, high: float, label: str) -> None:
    log_axis(axes, fine=high <= 5 * low)
    axes.set_xlim(low / _MARGIN, high * _MARGIN)
    axes.set_xlabel(label)
    axes.set_ylim(-4, 104)
    axes.set_yticks(*_percent_ticks())
    axes.grid(axis="y", alpha=0.15, color=INK)


def _percent_ticks() -> tuple[list[int], list[str]]:
    return [0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"]


def _add_legend(figure: Figure, handles: list[Line2D]) -> None:
    """A legend above the panels, with as many columns as fit."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, int(figure.get_figwidth() / (0.55 + 0.075 * longest)))
    figure.set_figheight(figure.get_figheight() + 0.19 * math.ceil(len(handles) / columns))
    with matplotlib.rc_context(_STYLE):  # pyright: ignore[reportArgumentType]  (as above)
        legend = figure.legend(
            handles=handles,
            loc="outside upper left",
            ncols=min(len(handles), columns),
            frameon=False,
        )
    for text in legend.get_texts():
        text.set_parse_math(False)


def as_svg(figure: Figure) -> bytes:
    """Returns a figure as SVG in which whatever is drawn with ``INK`` has the colour of the reader's text."""
    figure.patch.set_visible(False)
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_color(INK)
    for axes in figure.axes:
        axes.tick_params(which="both", color=INK)
        for spine in axes.spines.values():
            spine.set_color(INK)
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):  # pyright: ignore[reportArgumentType]  (as above)
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = (
        buffer.getvalue().replace(INK, "currentColor").replace("'DejaVu Sans', sans-serif", _FONTS)
    )
    # No document type: it names an address, and nothing here may.
    text = re.sub(r"<!DOCTYPE[^>]*>\s*", "", text)
    head, tag, body = text.partition("<defs>")
    return f"{head}{_THEME}{tag}{body}".encode()


def _name(name: str) -> str:
    """A name as a label: printable, not too long."""
    shown = "".join(letter if letter.isprintable() else "·" for letter in name)
    return shown if len(shown) <= 24 else f"{shown[:23]}…"
