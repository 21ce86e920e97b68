"""Consoles and tables. Output that is not a terminal is plain text and never shortened."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

_WIDTH_OF_PLAIN_OUTPUT = 10_000  # columns; nothing is wrapped or cut in a file or a pipe


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that does not wrap or cut lines if the output is a file or a pipe.

    Characters that the encoding of the stream lacks are replaced instead of raising an error.
    """
    stream = sys.stderr if stderr else sys.stdout
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return Console(
        stderr=stderr, highlight=False, width=None if stream.isatty() else _WIDTH_OF_PLAIN_OUTPUT
    )


def make_table(*columns: str, title: str = "", caption: str = "") -> Table:
    """Return an empty table without a frame. The first column, which names rows, is never cut."""
    table = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        caption=Text(caption, style="dim") if caption else None,
        caption_justify="left",
        box=None,
    )
    for index, name in enumerate(columns):
        table.add_column(Text(name), overflow="fold", no_wrap=index == 0)
    return table


def add_text_row(table: Table, *cells: object) -> None:
    """Add a row whose cells are printed literally. Square brackets are not treated as markup."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells))


def rich_table(table: pd.DataFrame, title: str) -> Table:
    """Return a data frame as a table, with three decimals and a dash for missing values."""
    shown = make_table(*map(str, table.columns), title=title)
    for row in table.itertuples(index=False):
        add_text_row(shown, *(_format_cell(value) for value in row))
    return shown


def _format_cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return str(value)
