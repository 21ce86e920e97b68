"""``jepabench compare``: one thing against its alternatives, everything else alike."""

from __future__ import annotations

import argparse

from jepabench import compare_planners


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    compare_planners.configure(kinds.add_parser("planners", help="every planner on one world model a task"))


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    return compare_planners.run(options)
