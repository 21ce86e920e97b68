"""The claims under test: questions and verdicts from ``claims.yaml``, evidence from ``tables/``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from jepabench.envs.data.files import write_atomically
from jepabench.evaluation.protocol import ROW_SEEDS
from jepabench.results import find_checkout
from jepabench.results.figures.headline_text import headline_markdown
from jepabench.results.figures.planning_vs_rl import Panel, read_panels

HOME = Path(__file__).resolve().parents[1]
VERDICTS = ("supported", "not supported", "undecided", "open")
_TICKS = re.compile(r"`([^`]+)`")


class ClaimError(ValueError):
    """Claims and tables that do not match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTable:
    """A table that answers a claim.

    Attributes:
        name: Name of the CSV file.
        command: The command that wrote it.
        reading: Its interpretation, in Markdown.
        rows: The table.
    """

    name: str
    command: str
    reading: str
    rows: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim with its verdict and the tables that support it.

    Attributes:
        id: C1, C2, ...
        title: The claim in a few words.
        question: The question under test.
        measured: How it is measured.
        command: The command that answers it.
        verdict: ``supported``, ``not supported``, ``undecided`` or ``open``.
        seeds: Training seeds behind the verdict; 0 while it is open.
        result: The headline number in a sentence; empty while it is open.
        evidence: The table rows of ``result`` (``jepabench.results.quoted_numbers``).
        figures: The figures of ``claims.yaml``.
        headline: Whether the page shows the headline figure of the board.
        tables: The tables; empty if nothing has been measured.
    """

    id: str
    title: str
    question: str
    measured: str
    command: str
    verdict: str = "open"
    seeds: int = 0
    result: str = ""
    evidence: Sequence[str] = ()
    figures: Sequence[Mapping[str, Any]] = ()
    headline: bool = False
    tables: tuple[ClaimTable, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ClaimError(
                f"{self.id}: the verdict must be one of {', '.join(VERDICTS)}, "
                f"got {self.verdict!r}."
            )

    @property
    def is_preliminary(self) -> bool:
        """Whether the verdict rests on too few training seeds."""
        return self.verdict != "open" and self.seeds < ROW_SEEDS

    @property
    def status(self) -> str:
        """The verdict with the number of seeds, such as ``supported (preliminary, 1 seed)``."""
        if self.verdict == "open":
            return "open"
        seeds = f"{self.seeds} seed{'' if self.seeds == 1 else 's'}"
        return f"{self.verdict} ({'preliminary, ' * self.is_preliminary}{seeds})"


def read_claims(tables: Path = HOME / "tables", claims: Path = HOME / "claims.yaml") -> list[Claim]:
    """Return the claims in order, with the tables that ``tables/README.md`` assigns to them.

    Raises:
        ClaimError: The README names an unknown claim or a missing table.
    """
    asked = yaml.safe_load(claims.read_text(encoding="utf-8"))
    answers: dict[str, list[ClaimTable]] = {one["id"]: [] for one in asked}
    for name, ids, command, reading in _rows(tables / "README.md"):
        if not (tables / name).is_file():
            raise ClaimError(f"{tables / 'README.md'} names {name}, which does not exist.")
        table = ClaimTable(
            name=name, command=command, reading=reading, rows=pd.read_csv(tables / name)
        )
        for claim in ids:
            if claim not in answers:
                raise ClaimError(
                    f"{tables / 'README.md'} assigns {name} to claim {claim}; "
                    f"the claims are {', '.join(answers)}."
                )
            answers[claim].append(table)
    return [Claim(**one, tables=tuple(answers[one["id"]])) for one in asked]


def claims_page(claims: Sequence[Claim], panels: Sequence[Panel] = ()) -> str:
    """Return ``docs/claims.md``: a table of verdicts, then a section per claim.

    Args:
        claims: From ``read_claims``.
        panels: Headline figure, which opens the page. Without panels there is none.
    """
    headline = headline_markdown(panels, "media")
    rows = [
        f"| {one.id} | {one.title} | {one.status} | {one.result or '-'} |"
        + "".join(f" <!-- table: {marker} -->" for marker in one.evidence)
        for one in claims
    ]
    sections = [
        f"## {one.id}: {one.title}\n\n{one.question}\n\nMeasured as {one.measured}:\n\n"
        f"```text\n{one.command}\n```\n"
        for one in claims
    ]
    return "\n".join(
        [
            "# Claims",
            "",
            *([headline, ""] if headline else []),
            "These are the claims under test and their verdicts. The tables are described in",
            "[results/tables](../results/tables/README.md); `jepabench board` builds a page with",
            "figures for each claim. "
            "A verdict with fewer than three training seeds is preliminary.",
            "This page is generated from `results/claims.yaml` by",
            "`python -m jepabench.results.board.claims`.",
            "",
            "| | claim | verdict | result |",
            "|---|---|---|---|",
            *rows,
            "",
            *sections,
        ]
    )


def _rows(page: Path) -> list[tuple[str, list[str], str, str]]:
    """Return file, claims, command and reading of each row of the tables' README."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page of the claims and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m jepabench.results.board.claims",
        description="Write the page of the claims from their tables.",
    )
    parser.add_argument("--output", type=Path, help="file; default: docs/claims.md of a checkout")
    given = parser.parse_args(arguments).output
    try:
        output = given or find_checkout() / "docs" / "claims.md"
        write_atomically(output, claims_page(read_claims(), read_panels()))
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
