"""Write the tables of a report as Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from jepabench.envs.task import short_name
from jepabench.results.report.aggregates import Aggregates
from jepabench.results.report.success_table import Cell, count, duration, milliseconds, percent

_HEADS = ("agent", "held, %", "95 % interval", "ever, %", "ms a step", "transitions", "training")
_AGGREGATE_HEADS = ("agent", "IQM", "mean", "optimality gap", "seeds")
_MARKDOWN = {
    "|": "\\|",
    "<": "&lt;",
    ">": "&gt;",
    "[": "\\[",
    "]": "\\]",
    "*": "\\*",
    "_": "\\_",
    "`": "\\`",
}
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{EN DASH}": "--",
}


def markdown_report(title: str, cells: Sequence[Cell], aggregates: Aggregates | None) -> str:
    """Return the success table of each task and stratum and the aggregates as Markdown."""
    parts = [f"# {_escaped(title, _MARKDOWN)}"]
    for place, heads, rows in _tables(cells, aggregates):
        parts.append(f"## {_escaped(place, _MARKDOWN)}")
        lines = [
            heads,
            ["---"] + ["---:"] * (len(heads) - 1),
            *([_escaped(cell, _MARKDOWN) for cell in row] for row in rows),
        ]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def latex_report(title: str, cells: Sequence[Cell], aggregates: Aggregates | None) -> str:
    """Return the tables of ``markdown_report`` as LaTeX, which needs the package booktabs."""
    parts = [f"% {' '.join(title.split())}; needs \\usepackage{{booktabs}}"]
    for place, heads, rows in _tables(cells, aggregates):
        body = [
            " & ".join(_escaped(cell, _LATEX) for cell in row) + r" \\" for row in [heads, *rows]
        ]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    rf"\caption{{{_escaped(place, _LATEX)}}}",
                    rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
                    r"\toprule",
                    body[0],
                    r"\midrule",
                    *body[1:],
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def aggregate_rows(aggregates: Aggregates, stratum: str) -> list[list[str]]:
    """Return the rows of an aggregate table as text, with the best IQM first.

    The columns are agent, IQM, mean, optimality gap (each with its interval) and seeds.
    """
    rows = [row for row in aggregates.table.to_dict("records") if row["stratum"] == stratum]
    rows.sort(key=lambda row: -row["iqm"])
    return [
        [
            str(row["agent"]),
            *(_with_interval(row, name) for name in ("iqm", "mean", "optimality_gap")),
            str(row["seeds"]),
        ]
        for row in rows
    ]


def _tables(
    cells: Sequence[Cell], aggregates: Aggregates | None
) -> list[tuple[str, list[str], list[list[str]]]]:
    found = []
    if aggregates is not None:
        for stratum in dict.fromkeys(aggregates.table["stratum"]):
            heads = f"Across tasks, {stratum} ({aggregates.scale} scores)"
            found.append((heads, list(_AGGREGATE_HEADS), aggregate_rows(aggregates, str(stratum))))
    for (task, stratum), group in groupby(cells, key=lambda cell: (cell.task, cell.stratum)):
        found.append(
            (f"{short_name(task)}, {stratum}", list(_HEADS), [_row(cell) for cell in group])
        )
    return found


def _row(cell: Cell) -> list[str]:
    if not cell.is_done:
        return [cell.agent, cell.status, *[""] * (len(_HEADS) - 2)]
    return [
        cell.agent,
        percent(cell.success_held),
        f"{percent(cell.held_low)}\N{EN DASH}{percent(cell.held_high)}",
        percent(cell.success_ever),
        milliseconds(cell.ms_per_step),
        count(cell.transitions),
        duration(cell.train_seconds),
    ]


def _with_interval(row: dict[Any, Any], name: str) -> str:
    middle, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{middle:.2f}" if math.isnan(low) else f"{middle:.2f} ({low:.2f}\N{EN DASH}{high:.2f})"


def _escaped(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(letter, letter) for letter in " ".join(text.split()))
