"""``jepabench new-env``: the draft of a world of your own."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    from jepabench.envs.checks.scaffold import families

    parser.add_argument("name", help="name of the world and its class, as in StackCubes")
    parser.add_argument(
        "--family",
        default="manipulation",
        help=f"which draft to start from: {', '.join(families())}",
    )
    parser.add_argument(
        "--path", type=Path, default=Path(), help="folder that the package is made in"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from jepabench.envs.checks.scaffold import write_draft

    draft = write_draft(options.name, family=options.family, path=options.path)
    print(f"Wrote {draft.folder}: {', '.join(draft.files)}")
    print(
        f"It works as it is. Change it, and after each change check it:\n  jepabench check-env {draft.task_id}"
    )
    return 0
