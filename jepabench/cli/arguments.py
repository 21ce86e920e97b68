"""Types of command-line arguments. Each type checks its values and lists wrong ones for tests."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import NoReturn

from jepabench.evaluation.protocol import MAX_SEED

_LARGEST = 10**9


class Parser(argparse.ArgumentParser):
    """An argument parser that reports mistakes in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and exit with code 2."""
        print(f"error: {message}. See `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(2)


class Whole:
    """A whole number from ``low`` to ``high``."""

    def __init__(self, low: int, high: int = _LARGEST) -> None:
        self.low, self.high = low, high
        self.wrong = (str(low - 1), str(high + 1), "two", "", "1.5", "nan")

    def __call__(self, text: str) -> int:
        """Return the number."""
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not self.low <= value <= self.high:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {self.low} to {self.high}, got {text!r}"
            )
        return value


class Number:
    """A finite number above ``low`` (or equal to it, if ``inclusive``) and at most ``high``."""

    def __init__(self, low: float, high: float = 1e12, *, inclusive: bool = False) -> None:
        self.low, self.high, self.inclusive = low, high, inclusive
        self.wrong = (str(low - 1), str(2 * high + 1), "many", "", "nan", "inf")

    def __call__(self, text: str) -> float:
        """Return the number."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        above = value >= self.low if self.inclusive else value > self.low
        if not (above and value <= self.high):
            bound = "from" if self.inclusive else "above"
            raise argparse.ArgumentTypeError(
                f"must be a number {bound} {self.low:g} and at most {self.high:g}, got {text!r}"
            )
        return value


class Rate:
    """A rate from 0 to 1, also written as a percentage."""

    wrong = ("-0.1", "1.1", "101%", "half", "", "nan", "inf")

    def __call__(self, text: str) -> float:
        """Return the rate."""
        try:
            value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise argparse.ArgumentTypeError(
                f"must be a rate from 0 to 1, or from 0% to 100%, got {text!r}"
            )
        return value


class Numbers:
    """Positive numbers, separated by commas."""

    wrong = ("0", "-1", "1,", "", "many", "nan", "inf")

    def __call__(self, text: str) -> tuple[float, ...]:
        """Return the numbers."""
        number = Number(0)
        return tuple(number(part) for part in text.split(","))


class Names:
    """Non-empty names, separated by commas."""

    wrong = ("", ",", "a,,b")

    def __call__(self, text: str) -> tuple[str, ...]:
        """Return the names."""
        names = tuple(part.strip() for part in text.split(","))
        if not all(names):
            raise argparse.ArgumentTypeError(
                f"must be names separated by commas, got {text!r}, which has an empty name"
            )
        return names


class Columns:
    """Pairs ``field=column``, separated by commas."""

    wrong = ("", ",", "observation", "observation=", "=state", "observation=state,")

    def __call__(self, text: str) -> dict[str, str]:
        """Return the columns by field."""
        parts = [part.partition("=") for part in text.split(",")]
        pairs = {field.strip(): column.strip() for field, _, column in parts}
        if not all(field and column for field, column in pairs.items()):
            raise argparse.ArgumentTypeError(
                f"must be field=column, separated by commas, got {text!r}"
            )
        return pairs


class Folder:
    """The path of a folder to write to, which need not exist."""

    wrong = ("", " ")

    def __call__(self, text: str) -> Path:
        """Return the path."""
        if not text.strip():
            raise argparse.ArgumentTypeError("must be a path, got an empty one")
        return Path(text)


class ExistingFolder(Folder):
    """The path of a folder to read from."""

    wrong = ("", " ", "no-such-folder")

    def __call__(self, text: str) -> Path:
        """Return the path."""
        path = super().__call__(text)
        if not path.is_dir():
            raise argparse.ArgumentTypeError(f"must be an existing folder, got {text!r}")
        return path


class HubFolder(Folder):
    """The folder of a checkpoint, a dataset or a submission, or its address on the Hub.

    ``hf://user/name`` is downloaded into the cache of the Hub's client.

    Args:
        kind: Expected kind, "checkpoint", "dataset" or "submission".
    """

    wrong = ("", " ", "hf://", "hf://name", "hf://a/b/c")

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, text: str) -> Path:
        """Return the path."""
        if not text.startswith("hf://"):
            return super().__call__(text)
        from jepabench.pipeline.hub import HubError, pull, pull_submission

        try:
            if self.kind == "submission":
                return pull_submission(text)
            return pull(text, kind=self.kind)
        except HubError as error:
            raise argparse.ArgumentTypeError(str(error)) from error


class ExistingFile(Folder):
    """The path of a file to read, or of a pipe."""

    wrong = ("", " ", "no-such-file", ".")

    def __call__(self, text: str) -> Path:
        """Return the path."""
        path = super().__call__(text)
        if not path.exists() or path.is_dir():
            raise argparse.ArgumentTypeError(f"must be an existing file, got {text!r}")
        return path


class Task:
    """The name of a task: its id or its short name, with or without the version."""

    wrong = ("", "NoSuchWorld", "jepabench/NoSuchWorld-v1", "no_such_module:World-v0")

    def __call__(self, text: str) -> str:
        """Return the id of the task."""
        from jepabench.pipeline.tasks import resolve_task

        try:
            return resolve_task(text)
        except KeyError as error:
            raise argparse.ArgumentTypeError(str(error).removesuffix(".")) from error


class FrameSide(Whole):
    """The side length of square frames in pixels, or 0 for no frames if it is optional."""

    def __init__(self, *, optional: bool = False) -> None:
        super().__init__(16, 1024)
        self.optional = optional

    def __call__(self, text: str) -> int:
        """Return the side length."""
        return 0 if self.optional and text == "0" else super().__call__(text)


SEED = Whole(0, MAX_SEED)
FRAME_SIDE = FrameSide()
DATASET_FORMATS = ("lerobot", "hdf5", "lance", "minari")


def add_settings(parser: argparse.ArgumentParser, *, help: str) -> None:
    """Add the ``KEY=VALUE`` arguments of commands that compose a configuration."""
    parser.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help=help)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the argument of commands that read a world model."""
    parser.add_argument(
        "checkpoint",
        help="folder that `jepabench train` wrote, the name of a reference checkpoint, or "
        "hf://user/name",
    )


def add_common_arguments(parser: argparse.ArgumentParser, *, dataset: bool) -> None:
    """Add the arguments of commands that inspect a checkpoint."""
    add_checkpoint(parser)
    if dataset:
        parser.add_argument(
            "dataset",
            type=HubFolder("dataset"),
            help="held-out episodes of the same task, from `jepabench collect`, or hf://user/name",
        )
    parser.add_argument("--output", type=Folder(), help="folder for the tables and figures")
    parser.add_argument("--seed", type=SEED, default=0, help="random seed (0)")
