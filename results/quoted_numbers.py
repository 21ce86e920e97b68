"""Check numbers that documents quote against the tables that they come from.

A document marks a quoted number with a comment in the same paragraph or table row::

    The joint rule is met in 91 % of the episodes.
    <!-- table: push-t.csv stratum=steps25 rule=joint_ever share=91% -->

The comment contains the file in ``results/tables``, conditions that select exactly one row, and
last the column with the number as the paragraph writes it. ``%`` multiplies the value by 100.
``mean(share)=91%`` is the mean of the column over all rows that the conditions select.

    python -m jepabench.results.quoted_numbers README.md docs/*.md
"""

from __future__ import annotations

import csv
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

TABLES = Path(__file__).resolve().parent / "tables"
_MARKER = re.compile(r"<!-- table: (.*?) -->", re.DOTALL)


def find_wrong_numbers(text: str, tables: Path = TABLES) -> Iterator[str]:
    """Yield a sentence for each marked number that differs from its table or is not in the text.

    Args:
        text: Markdown.
        tables: Folder of the CSV files.
    """
    for paragraph in re.split(r"\n\s*\n|\n(?=\|)", text):
        prose = _MARKER.sub("", paragraph)
        for marker in _MARKER.findall(paragraph):
            problem = check_number(marker, prose, tables)
            if problem:
                yield f"{' '.join(marker.split())}: {problem}"


def check_number(marker: str, prose: str, tables: Path = TABLES) -> str:
    """Return what is wrong with one quoted number, or an empty string.

    Args:
        marker: File, conditions and ``column=number``, separated by spaces; quoted as in a shell.
        prose: The text that must contain the number.
        tables: Folder of the CSV files.
    """
    name, *pairs = shlex.split(marker)
    path = tables / name
    if not path.is_file():
        return f"there is no table {path.name}"
    *conditions, (column, shown) = (pair.split("=", 1) for pair in pairs)
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if all(row.get(key) == value for key, value in conditions)
        ]
    averaged = column.startswith("mean(") and column.endswith(")")
    if averaged:
        column = column[len("mean(") : -1]
    if not rows or (len(rows) > 1 and not averaged):
        return f"the conditions select {len(rows)} rows, not one"
    if column not in rows[0]:
        return f"the table has no column {column}"
    number = shown.removesuffix("%")
    digits = len(number.partition(".")[2])
    value = fmean(float(row[column]) for row in rows) * (100 if shown.endswith("%") else 1)
    if abs(value - float(number)) > 0.5 * 10**-digits + 1e-9:
        return f"the table has {value:.4g}"
    plain = number.removeprefix("0") if number.startswith("0.") else number
    if not re.search(rf"(?<![\d.])0?{re.escape(plain)}(?!\d|\.\d)", prose):
        return f"the paragraph does not contain {number}"
    return ""


def main(paths: Sequence[str]) -> int:
    """Print what is wrong in the documents and return the exit status."""
    problems = [
        f"{path}: {problem}"
        for path in paths
        for problem in find_wrong_numbers(Path(path).read_text(encoding="utf-8"))
    ]
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
