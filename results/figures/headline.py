"""Draw the headline figure: goals held by planners and RL against environment transitions.

Planners are blue and RL is red. ``python -m jepabench.results.figures`` writes the figure for the
README and the documentation, and the board draws it again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jepabench.envs.task import short_name
from jepabench.results.figures.planning_vs_rl import Axis, Panel, Point
from jepabench.results.report.panels import (
    GREY,
    MARKERS,
    cost_figure,
    shorten,
    style_cost_axes,
)

# One hue per family; the shades differ in lightness and can be read on white and on black.
SHADES = {
    "planner": ("#3B76C4", "#77B0EC", "#2E5A9E", "#8FA8E8", "#5B9BD5"),
    "rl": ("#D9503F", "#F0917F", "#B23A55", "#E58BA0", "#C96A5B"),
}
_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))
_RANGE = (1e3, 1e6)  # transitions; wider if a point lies outside
_LABELS = {"transitions": "environment transitions", "training_seconds": "training time [s]"}
_NAMES = {"planner": "planner", "rl": "RL"}


def draw_headline(
    panels: Sequence[Panel], *, x: Axis = "transitions", columns: int | None = None
) -> bytes:
    """Draw one panel per task with shaded 95 % intervals; floors and ceilings are dashed lines.

    Args:
        panels: From ``make_panels``.
        x: The horizontal axis, logarithmic.
        columns: Number of panels side by side; by default 3, or 2 where that fills every row.

    Returns:
        SVG.

    Raises:
        ValueError: There is no panel.
    """
    if not panels:
        raise ValueError("The figure needs a task with at least two planners or RL methods.")
    columns = columns or (2 if len(panels) % 2 == 0 and len(panels) % 3 else 3)
    styles = _choose_styles(panels)
    low, high = _find_range(panels, x)

    def draw(axes: Axes, items: Sequence[Panel]) -> None:
        style_cost_axes(axes, low, high, _LABELS[x])
        if x == "transitions":
            axes.set_xlim(low / 1.3, high * 1.3)
        _draw_references(axes, items[0])
        for method, (colour, marker, dashes) in styles.items():
            points = [one for one in items[0].curve(method) if getattr(one, x) > 0]
            if points:
                _draw_curve(axes, points, x, colour, marker, dashes)

    families = {point.method: point.family for panel in panels for point in panel.points}
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            markersize=4.5,
            linestyle=dashes,  # pyright: ignore[reportArgumentType]  (its stub lacks tuples)
            label=f"{shorten(method)} ({_NAMES[families[method]]})",
        )
        for method, (colour, marker, dashes) in styles.items()
    ]
    items = {short_name(panel.task): [panel] for panel in panels}
    return cost_figure(items, draw, handles, columns=columns, ylabel="goals held")


def _find_range(panels: Sequence[Panel], x: Axis) -> tuple[float, float]:
    values = [
        value
        for panel in panels
        for point in panel.points
        if point.family in SHADES and (value := getattr(point, x)) > 0
    ]
    low, high = min(values, default=1.0), max(values, default=10.0)
    if x == "transitions":
        low, high = min(low, _RANGE[0]), max(high, _RANGE[1])
    return low, high


Style = tuple[str, str, str | tuple[float, tuple[float, ...]]]


def _choose_styles(panels: Sequence[Panel]) -> dict[str, Style]:
    """Return colour, marker and dashes of each method, planners first."""
    styles: dict[str, Style] = {}
    for family, shades in SHADES.items():
        methods = dict.fromkeys(name for panel in panels for name in panel.methods(family))
        for place, method in enumerate(methods):
            styles[method] = (
                shades[place % len(shades)],
                MARKERS[place % len(MARKERS)],
                _DASHES[place % len(_DASHES)],
            )
    return styles


def _draw_curve(
    axes: Axes, points: Sequence[Point], x: Axis, colour: str, marker: str, dashes: object
) -> None:
    costs = [getattr(point, x) for point in points]
    low, high = ([100 * getattr(point.held, end) for point in points] for end in ("low", "high"))
    if len(points) > 1:
        axes.fill_between(costs, low, high, color=colour, alpha=0.13, linewidth=0)
    else:
        axes.vlines(costs, low, high, color=colour, alpha=0.5, linewidth=1.2)
    axes.plot(
        costs,
        [100 * point.held.estimate for point in points],
        color=colour,
        marker=marker,
        markersize=4.5,
        linewidth=1.6,
        linestyle=dashes,  # pyright: ignore[reportArgumentType]  (its stub lacks tuples)
        clip_on=False,
    )


def _draw_references(axes: Axes, panel: Panel) -> None:
    """Draw floors and ceilings as dashed lines; lines that are close share a label."""
    labels: list[tuple[float, str]] = []
    points = [point for point in panel.points if point.family not in SHADES]
    for point in sorted(points, key=lambda one: one.held.estimate):
        held = 100 * point.held.estimate
        axes.axhline(held, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        if labels and held - labels[-1][0] < 7:
            labels[-1] = (held, f"{labels[-1][1]}, {shorten(point.method)}")
        else:
            labels.append((held, shorten(point.method)))
    for held, text in labels:  # curves rise from the lower left to the upper right
        left, above = held > 50, held < 90
        axes.text(
            0.02 if left else 0.98,
            held + (1 if above else -1.5),
            text,
            va="bottom" if above else "top",
            ha="left" if left else "right",
            fontsize=7.5,
            alpha=0.75,
            parse_math=False,
            transform=axes.get_yaxis_transform(),
        )


def has_seconds(panels: Sequence[Panel]) -> bool:
    """Return whether at least two methods of a task state their training time."""
    for panel in panels:
        timed = {
            point.method
            for point in panel.points
            if point.family in SHADES and math.isfinite(point.training_seconds)
        }
        if len(timed) > 1:
            return True
    return False
