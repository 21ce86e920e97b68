"""The claims under test and what answers them: ``claims.yaml`` asks, ``tables/`` answers, ``tables/README.md`` says how to read it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

HOME = Path(__file__).resolve().parents[1]
_TICKS = re.compile(r"`([^`]+)`")


class ClaimError(ValueError):
    """Claims or their tables that do not fit together; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTable:
    """A table that answers a claim.

    Attributes:
        name: of the CSV file.
        command: that made it.
        reading: what it says, by whom measured it; Markdown.
        rows: the table.
    """

    name: str
    command: str
    reading: str
    rows: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim as it is asked, with what was measured of it.

    Attributes:
        id: C1, C2, ...
        title: in a few words.
        question: what is asked.
        measured: how.
        command: answers it, or answers it again.
        figures: what of the tables is drawn, as in ``claims.yaml``.
        tables: empty if nothing is measured yet.
    """

    id: str
    title: str
    question: str
    measured: str
    command: str
    figures: Sequence[Mapping[str, Any]] = ()
    tables: tuple[ClaimTable, ...] = ()


def read_claims(tables: Path = HOME / "tables", claims: Path = HOME / "claims.yaml") -> list[Claim]:
    """Returns the claims in their order, with the tables that the page of ``tables`` assigns to them.

    Raises:
        ClaimError: a row names a claim that does not exist, or a table that is not there.
    """
    asked = yaml.safe_load(claims.read_text(encoding="utf-8"))
    answers: dict[str, list[ClaimTable]] = {one["id"]: [] for one in asked}
    for name, ids, command, reading in _rows(tables / "README.md"):
        if not (tables / name).is_file():
            raise ClaimError(f"{tables / 'README.md'} speaks of {name}, which is not there.")
        table = ClaimTable(
            name=name, command=command, reading=reading, rows=pd.read_csv(tables / name)
        )
        for claim in ids:
            if claim not in answers:
                raise ClaimError(
                    f"{tables / 'README.md'}: {name} is of claim {claim}; there are {', '.join(answers)}."
                )
            answers[claim].append(table)
    return [Claim(**one, tables=tuple(answers[one["id"]])) for one in asked]


def claims_page(claims: Sequence[Claim]) -> str:
    """Returns ``docs/claims.md``: what each claim asks, and what answers it."""
    rows = [
        f"| {one.id} | **{one.title}.** {one.question} | {one.measured} | `{one.command}` |"
        for one in claims
    ]
    return "\n".join(
        [
            "# The claims",
            "",
            "What the suite puts to the test. Each is answered by one command; what was measured is in",
            "[results/tables](../results/tables/README.md) and, with figures, on the pages that `jepabench board` makes.",
            "Generated from `results/claims.yaml` by `python -m jepabench.results.board.claims`; change that.",
            "",
            "| | claim | measured as | command |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _rows(page: Path) -> list[tuple[str, list[str], str, str]]:
    """The rows of the page's table: file, claims, command, reading. Cells after the command belong to the reading."""
    if not page.is_file():
        return []
    found = []
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        name = _TICKS.match(cells[0])
        if not line.startswith("|") or len(cells) < 4 or not name or not name[1].endswith(".csv"):
            continue
        command = _TICKS.search(cells[2])
        ids = re.findall(r"\bC\d+\b", cells[1])
        found.append(
            (Path(name[1]).name, ids, command[1] if command else cells[2], " ".join(cells[3:]))
        )
    return found


if __name__ == "__main__":
    (HOME.parent / "docs" / "claims.md").write_text(claims_page(read_claims()), encoding="utf-8")
