"""Panels, axes and legends shared by the charts, and their SVG, which follows the reader's theme.

Colours are Paul Tol's bright scheme, which readers with any colour vision can tell apart on white
and on black. Floors and ceilings are grey, because they serve as references.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from jepabench.results.report.success_table import agent_kind, count

_BRIGHT = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#E69F00", "#9988DD")
MARKERS = "oDsv^PX<>dph"
GREY = "#8B929C"
# as_svg replaces this colour by the text colour of the reader's theme.
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
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
}
# Fonts of the SVG. The layout uses DejaVu Sans, which is wider than these, so that no text is cut.
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_PANEL_WIDTH = 3.4  # inches
PLOT_HEIGHT = 2.2  # inches
COST_MARGIN = 2.5  # factor between the outermost costs and the ends of their axis

Item = TypeVar("Item")


def agent_colours(agents: Iterable[str]) -> dict[str, str]:
    """Return a distinct colour for each agent, in order; floors and ceilings are grey."""
    agents = list(dict.fromkeys(agents))
    learned = [agent for agent in agents if agent_kind(agent) == "learned"]
    colours = {agent: _BRIGHT[place % len(_BRIGHT)] for place, agent in enumerate(learned)}
    return {agent: colours.get(agent, GREY) for agent in agents}


def panel_figure(
    panels: Mapping[str, Sequence[Item]],
    draw: Callable[[Axes, Sequence[Item]], None],
    *,
    columns: int,
    height: float,
    share_y: bool = True,
) -> Figure:
    """Return a figure with one titled panel per entry of ``panels``, drawn by ``draw``."""
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    with matplotlib.rc_context(_STYLE):  # pyright: ignore[reportArgumentType]  (its stub wants literal keys)
        figure = Figure(figsize=(_PANEL_WIDTH * columns + 0.7, height * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
        for axes, (title, items) in zip(grid.ravel(), panels.items(), strict=False):
            draw(axes, items)
            axes.set_title(shorten(title), loc="left", fontweight="bold", parse_math=False)
            axes.spines[["top", "right"]].set_visible(False)
            axes.patch.set_visible(False)
            axes.set_axisbelow(True)
        for axes in grid.ravel()[len(panels) :]:
            axes.set_visible(False)
    return figure


def log_axis(axes: Axes, *, fine: bool) -> None:
    """Make the x axis logarithmic, with one tick per decade, or three if ``fine``."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if fine else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if value < 1000 else count(value))
    )


def style_cost_axes(axes: Axes, low: float, high: float, label: str) -> None:
    """Style axes of success [%] against a cost between ``low`` and ``high``."""
    log_axis(axes, fine=high <= 5 * low)
    axes.set_xlim(low / COST_MARGIN, high * COST_MARGIN)
    axes.set_xlabel(label)
    axes.set_ylim(-4, 104)
    axes.set_yticks(*percent_ticks())
    axes.grid(axis="y", alpha=0.15, color=INK)


def percent_ticks() -> tuple[list[int], list[str]]:
    """Return the ticks of a percentage axis and their labels."""
    return [0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"]


def cost_figure(
    panels: Mapping[str, Sequence[Item]],
    draw: Callable[[Axes, Sequence[Item]], None],
    handles: list[Line2D],
    *,
    columns: int,
    ylabel: str,
) -> bytes:
    """Return an SVG of success against costs, with a label on each row and a legend."""
    figure = panel_figure(panels, draw, columns=columns, height=PLOT_HEIGHT + 0.4)
    for axes in figure.axes[:: max(1, min(columns, len(panels)))]:
        axes.set_ylabel(ylabel)
    add_legend(figure, handles)
    return as_svg(figure)


def add_legend(figure: Figure, handles: list[Line2D]) -> None:
    """Add a legend above the panels, with as many columns as fit."""
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
    """Return a figure as SVG in which ``INK`` becomes the colour of the reader's text."""
    figure.patch.set_visible(False)
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):  # pyright: ignore[reportArgumentType]  (as above)
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = (
        buffer.getvalue().replace(INK, "currentColor").replace("'DejaVu Sans', sans-serif", _FONTS)
    )
    # Remove the document type, because it contains a web address.
    text = re.sub(r"<!DOCTYPE[^>]*>\s*", "", text)
    head, tag, body = text.partition("<defs>")
    return f"{head}{_THEME}{tag}{body}".encode()


def shorten(name: str) -> str:
    """Return a name as a label: printable and at most 24 characters long."""
    shown = "".join(letter if letter.isprintable() else "·" for letter in name)
    return shown if len(shown) <= 24 else f"{shown[:23]}…"
