"""Which submissions a pull request adds or changes: ``changed_submissions.py CHECKOUT CHANGED``, both lists ended by NUL.

A pull request with submissions changes nothing else: their badges and the code that checks them are for others to change.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PLACE = re.compile(r"results/submissions/([a-z0-9][a-z0-9-]{0,63})/[^\0]+")


def folders(checkout: Path, changed: str) -> list[Path]:
    """Returns the folders of all submissions that ``changed`` files, ended by NUL, belong to.

    Raises:
        ValueError: a file that belongs to none.
    """
    names = set()
    for path in filter(None, changed.split("\0")):
        found = PLACE.fullmatch(path)
        if not found:
            raise ValueError(
                f"{path[:200]!r} is no file of a submission; a pull request adds folders to results/submissions/ and nothing else."
            )
        names.add(found[1])
    found = [checkout / "results/submissions" / name for name in sorted(names)]
    for folder in found:
        if not folder.exists():  # nothing to check; whether it may go is for a maintainer to say
            sys.stderr.write(f"{folder.name} is taken away.\n")
    return [folder for folder in found if folder.exists()]


if __name__ == "__main__":
    try:
        found = folders(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.write("".join(f"{folder}\0" for folder in found))
