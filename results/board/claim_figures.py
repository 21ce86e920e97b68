"""Draw figures of the tables of claims, as SVG that follows the reader's theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from jepabench.envs.task import short_name
from jepabench.results.report.families import FAMILIES, classify_families, family_handles
from jepabench.results.report.panels import (
    INK,
    MARKERS,
    add_legend,
    agent_colours,
    as_svg,
    log_axis,
    panel_figure,
)

Rows = Sequence[Mapping[str, Any]]


def claim_figure(table: pd.DataFrame, spec: Mapping[str, Any]) -> bytes:
    """Draw a figure specified in ``claims.yaml``, with its panels below each other.

    Args:
        table: Rows of the table.
        spec: A mapping with ``kind`` (``bars``, ``lines`` or ``grid``); ``value`` (the column to
            draw), optionally with ``low`` and ``high``; ``series`` (the column with one bar or line
            per value); ``x`` (the column of the x axis of lines and grids); ``y`` (the column of
            the y axis of grids, whose cells are darker the larger the value); ``panel`` (the column
            with one panel per value, or "" for one panel); ``label`` (of the value axis);
            ``x_label`` (of the x axis of grids, by default the column); ``most`` (the end of the
            value axis); ``log`` (whether x is logarithmic); ``only`` (allowed values of columns,
            by column); ``families`` (the family of each series by name, where the table has no
            column ``model_steps`` that tells planners from policies).
    """
    parts = split_panels(table, spec)
    rows = [row for part in parts.values() for row in part]
    series = list(dict.fromkeys(str(row[spec["series"]]) for row in rows))
    families = _find_families(rows, spec)
    colours = _choose_colours(series, families, spec)
    draw = {"bars": _bars, "lines": _lines, "grid": _grid}[spec["kind"]]

    def group(part: Rows) -> dict[str, Rows]:
        names = {str(row[spec["series"]]) for row in part}
        return {
            name: [row for row in part if str(row[spec["series"]]) == name]
            for name in series
            if name in names
        }

    most = max((len(group(part)) for part in parts.values()), default=0)
    figure = panel_figure(
        parts,
        lambda axes, part: draw(axes, group(part), spec, colours),
        columns=1,  # fits every screen
        height=0.3 * most + 0.9 if spec["kind"] == "bars" else 2.4,
        share_y=spec["kind"] == "bars"
        and all(len(group(part)) == len(series) for part in parts.values()),
    )
    if spec["kind"] == "bars" and len(set(families.values())) > 1:
        add_legend(figure, family_handles(families.values()))
    return as_svg(figure)


def split_panels(table: pd.DataFrame, spec: Mapping[str, Any]) -> dict[str, Rows]:
    """Return the rows of each panel of ``claim_figure`` by its title, in the order of the table.

    Rows with values that ``only`` does not allow are left out. Arguments as for ``claim_figure``.
    """
    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    for column, values in spec.get("only", {}).items():
        rows = [row for row in rows if str(row[column]) in values]
    panel, parts = spec.get("panel", ""), {}
    for row in rows:
        parts.setdefault(short_name(str(row[panel])) if panel else "", []).append(row)
    return parts


def _find_families(rows: Rows, spec: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the family of each series, or nothing if the series are not agents."""
    if "families" in spec or not rows or "model_steps" not in rows[0]:
        return spec.get("families", {})
    return classify_families(rows, spec["series"])


def _choose_colours(
    series: Sequence[str], families: Mapping[str, str], spec: Mapping[str, Any]
) -> dict[str, str]:
    """Return the colour of each series: of its family, or one for all bars, which have labels."""
    if families:
        return {name: FAMILIES[families[name]] for name in series}
    if spec["kind"] == "bars":
        return dict.fromkeys(series, FAMILIES["planner"])
    return agent_colours(series)


def _bars(
    axes: Axes, series: Mapping[str, Rows], spec: Mapping[str, Any], colours: Mapping[str, str]
) -> None:
    """Draw a bar for each mean, with its interval, or with its values as dots."""
    for place, (name, rows) in enumerate(list(series.items())[::-1]):
        axes.barh(place, np.mean(_column(rows, spec["value"])), height=0.6, color=colours[name])
        if "low" in spec:
            ends = np.mean(_column(rows, spec["low"])), np.mean(_column(rows, spec["high"]))
            axes.plot(ends, [place, place], color=INK, linewidth=1.2)
        elif len(rows) > 1:
            axes.plot(
                _column(rows, spec["value"]),
                [place] * len(rows),
                "o",
                color=INK,
                markersize=3,
                clip_on=False,
            )
    axes.set_yticks(range(len(series)), list(series)[::-1], parse_math=False)
    if "most" in spec:
        axes.set_xlim(0, spec["most"])
    axes.set_xlabel(spec["label"])
    axes.grid(axis="x", alpha=0.15, color=INK)
    axes.tick_params(axis="y", length=0)


def _lines(
    axes: Axes, series: Mapping[str, Rows], spec: Mapping[str, Any], colours: Mapping[str, str]
) -> None:
    for (name, rows), marker in zip(series.items(), MARKERS * 9, strict=False):
        rows = sorted(rows, key=lambda row: row[spec["x"]])
        places = _column(rows, spec["x"])
        axes.plot(
            places,
            _column(rows, spec["value"]),
            marker=marker,
            markersize=4,
            color=colours[name],
            label=name,
        )
        if "low" in spec:
            axes.vlines(
                places,
                _column(rows, spec["low"]),
                _column(rows, spec["high"]),
                color=colours[name],
                alpha=0.5,
            )
    if spec.get("log"):
        low, high = axes.get_xlim()
        log_axis(axes, fine=high <= 50 * low)
    if "most" in spec:
        axes.set_ylim(
            -0.02 * spec["most"], 1.02 * spec["most"]
        )  # a marker at either end is seen whole
    axes.set_xlabel(str(spec["x"]).replace("_", " "))
    axes.set_ylabel(spec["label"])
    axes.grid(alpha=0.15, color=INK)
    axes.legend(frameon=False, fontsize=8)


def _grid(
    axes: Axes, series: Mapping[str, Rows], spec: Mapping[str, Any], colours: Mapping[str, str]
) -> None:
    """Draw a cell for each pair of x and y; empty where the value is 0."""
    for name, rows in series.items():
        table = pd.DataFrame(rows).pivot(index=spec["y"], columns=spec["x"], values=spec["value"])
        shares = table.to_numpy(float)
        colour = np.broadcast_to(to_rgb(colours[name]), (*shares.shape, 3))
        opacity = np.where(shares > 0.0, 0.15 + 0.85 * np.sqrt(shares / shares.max()), 0.0)
        axes.pcolormesh(
            table.columns, table.index, np.concatenate([colour, opacity[..., None]], axis=-1)
        )
    for line in (axes.axhline, axes.axvline):
        line(0.0, color=INK, linewidth=0.8, alpha=0.5)
    axes.locator_params(nbins=5)
    axes.set_xlabel(str(spec.get("x_label", spec["x"])))
    axes.set_ylabel(spec["label"])


def _column(rows: Rows, name: str) -> list[float]:
    return [float(row[name]) for row in rows]
