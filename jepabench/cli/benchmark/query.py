"""``jepabench query``: SQL over everything that was measured."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import pandas as pd

EXAMPLE = "SELECT agent, avg(success_held::INT) FROM episodes GROUP BY agent"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "sql",
        help=f"tables: episodes (one row an episode), runs (one row a stage). For instance: {EXAMPLE!r}",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), help="folder of the results"
    )
    parser.add_argument("--csv", action="store_true", help="print CSV")


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    table = query(options.sql, options.output)
    if options.csv:
        table.to_csv(sys.stdout, index=False)
    else:
        from rich.console import Console

        from jepabench.pipeline.terminal import rich_table

        Console().print(rich_table(table, f"{len(table)} rows"))
    return 0


def query(sql: str, output: Path) -> pd.DataFrame:
    """Returns the answer to a question in SQL (DuckDB's) about ``episodes`` and ``runs`` below ``output``.

    Raises:
        RecordError: nothing is evaluated yet.
        ValueError: what DuckDB does not understand, in its words.
    """
    import duckdb

    from jepabench.results.store import episodes_file, run_table

    with duckdb.connect() as connection:
        if re.search(r"\bepisodes\b", sql, re.IGNORECASE):
            path = str(episodes_file(output)).replace("'", "''")
            connection.execute(f"CREATE VIEW episodes AS SELECT * FROM read_parquet('{path}')")
        if re.search(r"\bruns\b", sql, re.IGNORECASE):
            connection.register("runs", run_table(output))
        try:
            answer = connection.execute(sql)
            return answer.fetchdf()
        except duckdb.Error as error:
            raise ValueError(
                f"{error}\nTables are episodes and runs, for instance: {EXAMPLE}"
            ) from error
