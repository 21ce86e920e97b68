"""List the submissions that a pull request adds: ``changed_submissions.py CHECKOUT CHANGED``.

``CHANGED`` is the output of ``git diff --raw -z``. A pull request with submissions adds files to
new folders and changes nothing else: neither existing submissions, nor badges, nor code.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PLACE = re.compile(r"results/submissions/([a-z0-9][a-z0-9-]{0,63})/[^\0]+")
_CHANGE = re.compile(r":(\d{6}) (\d{6}) [0-9a-f.]+ [0-9a-f.]+ ([A-Z])\d*")
_REGULAR = "100644"


def folders(checkout: Path, changed: str, existing: frozenset[str] = frozenset()) -> list[Path]:
    """Return the folders of all submissions that are added.

    Args:
        checkout: of the pull request.
        changed: pairs of a raw change and a path, each ended by NUL.
        existing: names of submissions of the base branch.

    Raises:
        ValueError: a file outside of submissions, a change or deletion, or a special file.
    """
    names, parts = set(), changed.split("\0")
    if len(parts) % 2 != 1 or parts[-1]:
        raise ValueError("The list of changes is not the output of `git diff --raw -z`.")
    for change, path in zip(parts[:-1:2], parts[1::2], strict=True):
        found, parsed = PLACE.fullmatch(path), _CHANGE.fullmatch(change)
        if not found or not parsed:
            raise ValueError(
                f"{path[:200]!a} is not a file of a submission. A pull request adds folders to "
                "results/submissions/ and nothing else."
            )
        _, mode, kind = parsed.groups()
        if kind != "A" or found[1] in existing:
            raise ValueError(
                f"{path[:200]!a}: {found[1]} exists and cannot be changed or deleted. "
                "Add a new one under another name."
            )
        if mode != _REGULAR:
            raise ValueError(f"{path[:200]!a} has mode {mode}; only regular files are allowed.")
        names.add(found[1])
    lower = {name.lower() for name in existing}
    for name in names:
        if name.lower() in lower:
            raise ValueError(f"{name} exists and cannot be changed.")
    return [checkout / "results/submissions" / name for name in sorted(names)]


def existing_names(base: Path) -> frozenset[str]:
    """Return the names of the submissions of the base branch, from the checkout of this script."""
    place = base / "results/submissions"
    return (
        frozenset(path.name for path in place.iterdir() if path.is_dir())
        if place.is_dir()
        else frozenset()
    )


if __name__ == "__main__":
    try:
        changed = Path(sys.argv[2]).read_bytes().decode("utf-8", "surrogateescape")
        base = Path(__file__).resolve().parents[1]
        added = folders(Path(sys.argv[1]).absolute(), changed, existing_names(base))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.write("".join(f"{folder}\0" for folder in added))
