"""``jepabench query``: query all results with SQL."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import pandas as pd

from jepabench.cli.arguments import Folder

_TABLES = ("episodes", "runs")
EXAMPLE = "SELECT agent, avg(success_held::INT) FROM episodes GROUP BY agent"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "sql",
        help="SQL query on the tables episodes (one row per episode) and runs (one row per stage), "
        f"for example {EXAMPLE!r}",
    )
    parser.add_argument(
        "--output", type=Folder(), default=Path("outputs"), help="folder of the results"
    )
    parser.add_argument("--csv", action="store_true", help="print CSV")
    parser.add_argument("--json", action="store_true", help="print JSON: one object per row")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    table = query(options.sql, options.output)
    if options.csv:
        table.to_csv(sys.stdout, index=False)
    elif options.json:
        print(table.to_json(orient="records", indent=1, date_format="iso"))
    else:
        from jepabench.pipeline.terminal import make_console, rich_table

        make_console().print(rich_table(table, f"{len(table)} row{'' if len(table) == 1 else 's'}"))
    return 0


def query(sql: str, output: Path) -> pd.DataFrame:
    """Return the result of a DuckDB query on ``episodes`` and ``runs`` below ``output``.

    Raises:
        RecordError: There is no finished evaluation.
        ValueError: DuckDB rejects the query.
    """
    import duckdb

    if not sql.strip():
        raise ValueError(f"The question is empty. Example: {EXAMPLE}")
    asked = [name for name in _TABLES if re.search(rf"\b{name}\b", sql, re.IGNORECASE)]
    if asked and not output.is_dir():
        raise ValueError(f"There is no folder {output}. --output is the folder of the results.")

    from jepabench.results.store import load_episodes, run_table

    with duckdb.connect() as connection:
        if "episodes" in asked:
            # Register a table instead of a path, in which brackets and stars would be a pattern.
            connection.register("episodes", load_episodes(output))
        if "runs" in asked:
            connection.register("runs", run_table(output))
        try:
            answer = connection.execute(sql)
            if answer is None:
                raise ValueError(f"{sql!r} is not a query. Example: {EXAMPLE}")
            return answer.fetchdf()
        except duckdb.Error as error:
            raise ValueError(
                f"{error}\nTables are episodes and runs. Example: {EXAMPLE}"
            ) from error
