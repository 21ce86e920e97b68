"""``jepabench push``: upload a checkpoint, a dataset or a submission to the Hugging Face Hub."""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import ExistingFolder


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "folder", type=ExistingFolder(), help="checkpoint, dataset or submission folder"
    )
    parser.add_argument("repo", help="repository user/name, which is created if needed")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--made-with", default="", help="command that created the folder, for the card"
    )


def run(options: argparse.Namespace) -> int:
    """Upload the folder and print its address."""
    from jepabench.pipeline.hub import push

    made_with = options.made_with
    print(push(options.folder, options.repo, private=options.private, command=made_with))
    return 0
