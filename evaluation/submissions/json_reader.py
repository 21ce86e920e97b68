"""JSON of unknown origin: each key once, finite numbers, bounded depth."""

from __future__ import annotations

import json
import math
from typing import Any

from jepabench.evaluation.submissions.errors import SubmissionError

_MAX_DEPTH = 24


def parse_json(content: bytes, name: str, *, check: str = "manifest", finite: bool = True) -> Any:
    """Parse JSON of unknown origin, within limits that no honest file reaches.

    Args:
        content: of the file.
        name: of the file.
        check: that refuses it.
        finite: refuse NaN and infinity, which Python writes although JSON has neither.

    Raises:
        SubmissionError: not UTF-8, not JSON, a duplicate key, a number that is not finite, or too
            deep.
    """
    try:
        tree = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_refuse_constant if finite else float,
            parse_float=_parse_finite if finite else float,
        )
    except RecursionError:
        raise SubmissionError(check, f"{name} is nested deeper than {_MAX_DEPTH} levels.") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise SubmissionError(check, f"{name} is not readable JSON: {str(error)[:300]}") from None
    level = [tree]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for node in level
            if isinstance(node, (dict, list))
            for item in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise SubmissionError(check, f"{name} is nested deeper than {_MAX_DEPTH} levels.")
    return tree


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:60]!r} is duplicated")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _parse_finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:30]} is too large")
    return float(text)
