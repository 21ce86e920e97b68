"""Reports, figures and the leaderboard. Only the command line and the Python API import it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


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
