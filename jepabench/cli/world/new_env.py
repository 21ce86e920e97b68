"""``jepabench new-env``: create a working template of a new environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from jepabench.cli.arguments import ExistingFolder


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    from jepabench.envs.checks.scaffold import families

    parser.add_argument("name", help="name of the environment and its class, such as StackCubes")
    parser.add_argument(
        "--family", default="manipulation", help=f"template: {', '.join(families())}"
    )
    parser.add_argument(
        "--path",
        type=ExistingFolder(),
        default=Path(),
        help="existing folder in which to create the package",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from jepabench.envs.checks.scaffold import write_draft

    draft = write_draft(options.name, family=options.family, path=options.path)
    print(f"Wrote {draft.folder}: {', '.join(draft.files)}")
    print("The draft works as it is. Edit it, and check it after each change:")
    print(f"  jepabench check-env {draft.task_id}")
    return 0
