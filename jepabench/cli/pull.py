"""``jepabench pull``: download a checkpoint, a dataset or a submission from the Hub."""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import Folder


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("repo", help="hf://user/name, optionally with @revision")
    parser.add_argument("folder", type=Folder(), help="new folder")


def run(options: argparse.Namespace) -> int:
    """Download the folder."""
    from jepabench.pipeline.hub import find_kind, pull

    folder = pull(options.repo, folder=options.folder)
    print(f"{folder}: {find_kind(folder)}")
    return 0
