"""Composition of the configuration of a run from the words of a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepabench.pipeline.config import ConfigError, compose_root, load_preset
from jepabench.pipeline.limits import KEYS_OF_THE_PLAN, MAX_SEED


def compose_run(overrides: list[str]) -> dict:
    """Compose the configuration. ``agent=`` and ``seed=`` replace the suite's agents and seeds."""
    chosen: dict[str, list[str]] = {}
    rest = []
    for item in overrides:
        key, separator, value = item.partition("=")
        if separator and key in ("agent", "seed"):
            names = value.split(",")
            if not all(name.strip() for name in names):
                raise ConfigError(
                    f"{item!r} has an empty name. Write {key}=A or {key}=A,B, or leave {key}= out."
                )
            chosen.setdefault(key, []).extend(names)
        else:
            rest.append(item)
    root = compose_root(rest)
    check_suite(root["suite"])
    if "agent" in chosen:
        root["suite"]["agents"] = chosen["agent"]
        for name in chosen["agent"]:
            load_preset("agent", name)
    if "seed" in chosen:
        root["suite"]["training_seeds"] = [_parse_seed(text) for text in chosen["seed"]]
    return root


def check_suite(suite: Mapping[str, Any]) -> None:
    """Check the tasks, strata, split, seeds and other values of a suite.

    Raises:
        UnknownNameError: an unknown name; the message suggests the nearest.
        SuiteError: any other value that is not allowed.
    """
    from jepabench import envs  # noqa: F401  (registers the tasks)
    from jepabench.evaluation.protocol import Suite

    Suite.from_config({key: value for key, value in suite.items() if key not in KEYS_OF_THE_PLAN})


def _parse_seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_SEED:
        raise ConfigError(
            f"A training seed must be a whole number from 0 to {MAX_SEED}, got {text!r}."
        )
    return int(text)
