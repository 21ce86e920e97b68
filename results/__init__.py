"""Reports, figures and the leaderboard. Only the command line and the Python API import it."""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def make_parser(module: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of ``python -m jepabench.results.MODULE``, with the option ``--tables``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m jepabench.results.{module}", description=description
    )
    parser.add_argument(
        "--tables", type=Path, help="folder of the tables; default: results/tables of a checkout"
    )
    return parser


def find_tables(folder: Path | None) -> Path:
    """Return the given folder of tables, or that of the checkout.

    Raises:
        FileNotFoundError: No folder is given, and the code runs from an installed package.
    """
    return folder or find_checkout() / "results" / "tables"


def find_checkout(folder: Path | None = None) -> Path:
    """Return the root of a checkout.

    Args:
        folder: Its root; default: the checkout that this code runs from.

    Raises:
        FileNotFoundError: The folder is no checkout, or the code runs from an installed package,
            whose files no command may change.
    """
    root = folder or ROOT
    if not (root / "pyproject.toml").is_file() or not (root / "docs").is_dir():
        raise FileNotFoundError(
            f"{root} is not a checkout of JEPA Bench. Run the command in a clone of the "
            "repository, or name what to write (see --help)."
        )
    return root
