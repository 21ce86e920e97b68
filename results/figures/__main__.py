"""Draw the headline figure, or add finished evaluations to its table.

    python -m jepabench.results.figures
    python -m jepabench.results.figures add outputs/scaling --planner jepa-reactive

Without ``add``, the command draws ``results/tables/planning-vs-rl.csv`` into ``docs/media`` and
updates README.md and docs/claims.md. Without that table, or without a task that can be compared, no
figure is shown and old ones are removed. Both commands change the files of a checkout: the one that
they run from, or ``--checkout FOLDER``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jepabench.envs.data.files import write_atomically
from jepabench.results import find_checkout
from jepabench.results.board.claims import claims_page, read_claims
from jepabench.results.figures.collect import add_rows, collect_rows
from jepabench.results.figures.headline import draw_headline, has_seconds
from jepabench.results.figures.headline_text import FILES, headline_markdown, replace_block
from jepabench.results.figures.planning_vs_rl import TABLE, read_panels


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m jepabench.results.figures",
        description="Draw the headline figure, or add finished evaluations to its table.",
    )
    parser.add_argument(
        "--checkout", type=Path, help="folder of the checkout to update; default: this one"
    )
    verbs = parser.add_subparsers(dest="verb")
    add = verbs.add_parser("add", help="add the finished evaluations below some folders")
    add.add_argument("folders", nargs="+", type=Path, help="outputs of jepabench scaling or sweep")
    for family, words in (("planner", "planners without model steps"), ("rl", "RL methods")):
        add.add_argument(
            f"--{family}", nargs="+", default=[], metavar="AGENT", help=f"agents to add as {words}"
        )
    options = parser.parse_args(arguments)
    try:
        root = find_checkout(options.checkout)
        table = root / "results" / "tables" / TABLE.name
        if options.verb == "add":
            families = dict.fromkeys(options.planner, "planner") | dict.fromkeys(options.rl, "rl")
            size = add_rows(collect_rows(options.folders, families), table)
            sys.stdout.write(f"{TABLE.name} has {size} rows. Run the command without `add` next.\n")
        else:
            draw(root)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def draw(root: Path) -> None:
    """Write the figures, README.md and docs/claims.md of a checkout.

    Raises:
        HeadlineTableError: The table breaks its schema.
        ValueError: README.md lacks the comments that mark the figure.
    """
    tables = root / "results" / "tables"
    panels = read_panels(tables / TABLE.name)
    for panel in panels:
        for missing in panel.incomplete:
            sys.stderr.write(f"not shown: {panel.task}: {missing} lacks a stratum\n")
    for axis, name in FILES.items():
        path = root / "docs" / "media" / name
        if panels and (axis == "transitions" or has_seconds(panels)):
            write_atomically(path, draw_headline(panels, x=axis))
            sys.stdout.write(f"{path.relative_to(root)}\n")
        else:
            path.unlink(missing_ok=True)
    readme = root / "README.md"
    text = replace_block(
        readme.read_text(encoding="utf-8"), headline_markdown(panels, "docs/media")
    )
    write_atomically(readme, text)
    write_atomically(root / "docs" / "claims.md", claims_page(read_claims(tables), panels))


if __name__ == "__main__":
    sys.exit(main())
