"""Configurations of stages: JSON types, a hash, and the differences between two of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jepabench.evaluation.stages.locks import StageError

COSMETIC_KEYS = frozenset({"progress", "num_workers", "verbose", "log_level"})


def stage_id(config: Mapping[str, Any]) -> str:
    """Return the hash of a resolved configuration, 16 hexadecimal digits.

    The order of keys, the choice of tuple or list, and cosmetic keys (``COSMETIC_KEYS``, at any
    depth) make no difference.

    Raises:
        StageError: A value that JSON cannot represent, such as NaN or an object.
    """
    return hashlib.sha256(_canonical(_without_cosmetics(plain(config))).encode()).hexdigest()[:16]


def _canonical(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any, key: str = "") -> Any:
    """Return a configuration as JSON types; ``key`` names the value in errors."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise StageError(
                    "Keys of a configuration must be strings, "
                    f"got {name!r} in {key or 'the top level'}."
                )
        return {name: plain(item, f"{key}.{name}".lstrip(".")) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(item, f"{key}[{index}]") for index, item in enumerate(value)]
    raise StageError(
        f"Configuration {key or '(top level)'} is {value!r} ({type(value).__name__}); "
        "a stage needs strings, finite numbers, booleans, None, lists and mappings."
    )


def _without_cosmetics(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {
            key: _without_cosmetics(item) for key, item in plain.items() if key not in COSMETIC_KEYS
        }
    return [_without_cosmetics(item) for item in plain] if isinstance(plain, list) else plain


# Keys whose values are digests, which tell a reader nothing.
_DIGESTS = {
    "agent.code": "the agent's code",
    "agent.files": "the files that the agent loads",
    "agent.weights": "the agent's weights",
}


def differences(known: Any, asked: Any, key: str = "") -> list[str]:
    """Return the differences between two plain configurations, at most five lines."""
    if isinstance(known, dict) and isinstance(asked, dict):
        found = []
        for name in sorted(known.keys() | asked.keys()):
            if name not in COSMETIC_KEYS:
                path = f"{key}.{name}".lstrip(".")
                found += differences(known.get(name, "(absent)"), asked.get(name, "(absent)"), path)
        return found[:5]
    if known == asked:
        return []
    if key in _DIGESTS:
        return [f"{_DIGESTS[key]} changed since then"]
    return [f"{key} is {known!r} there, {asked!r} asked for"]
