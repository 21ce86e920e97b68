"""Compose the configuration of a run from the arguments of a command."""

from __future__ import annotations

from collections.abc import Sequence

from jepabench.evaluation.protocol import MAX_SEED
from jepabench.pipeline.config import LITERAL_KEYS, ConfigError, compose_root, load_agent
from jepabench.pipeline.presets.expansion import (
    expand_agents,
    expand_values,
    is_variant_key,
    split_names,
)
from jepabench.pipeline.presets.variant_checks import check_variant
from jepabench.pipeline.schema import RunConfig


def compose_run(overrides: Sequence[str]) -> RunConfig:
    """Compose the configuration of a run.

    ``agent=`` and ``seed=`` replace the suite's agents and seeds. ``agent.NAME.KEY=``,
    ``world_model.NAME.KEY=`` and ``data.KEY=`` replace agents by variants, one for every
    combination of values; so do several values of ``suite.data.KEY=`` and ``pixels=``.

    Raises:
        ConfigError, SuiteError, UnknownNameError: A key, name or value is wrong; the message says
            which.
    """
    chosen, settings, rest = _sort_overrides(overrides)
    config = RunConfig.from_config(compose_root(rest))
    agents = chosen.get("agent", config.suite.agents)
    if "agent" in chosen or settings:
        for name in agents:
            load_agent(name)
    if settings:
        agents = expand_agents(agents, settings)
        for name in agents:
            check_variant(name, config.suite)
    seeds = config.suite.training_seeds
    if "seed" in chosen:
        seeds = map(_parse_seed, chosen["seed"])
    return config.with_suite(agents=tuple(agents), training_seeds=tuple(seeds))


def _sort_overrides(
    overrides: Sequence[str],
) -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
    """Return the chosen agents and seeds, the settings of variants, and all other overrides."""
    chosen: dict[str, list[str]] = {}
    settings: dict[str, str] = {}
    rest = []
    for item in overrides:
        key, separator, value = item.partition("=")
        if separator and key in ("agent", "seed"):
            chosen.setdefault(key, []).extend(_split_values(key, value))
        elif separator and is_variant_key(key):
            settings[key] = value
        elif separator and _has_several_values(key, value):
            settings[_find_swept_key(key)] = value
        else:
            rest.append(item)
    return chosen, settings, rest


def _split_values(key: str, text: str) -> list[str]:
    if text.startswith(("choice(", "range(")):
        return expand_values(key, text)
    names = split_names(text)
    if not all(names):
        raise ConfigError(
            f"'{key}={text}' has an empty name. Write {key}=A or {key}=A,B, or omit {key}=."
        )
    return names


def _has_several_values(key: str, text: str) -> bool:
    if key in LITERAL_KEYS or key.startswith(("launcher", "+", "~")):
        return False
    return len(split_names(text)) > 1 or text.startswith(("choice(", "range("))


def _find_swept_key(key: str) -> str:
    """Return the key of a variant for a key of the run that has several values.

    Raises:
        ConfigError: The key is about the episodes or the run instead of the agents.
    """
    if key == "pixels":
        return key
    if key.startswith("suite.data."):
        return key.removeprefix("suite.")
    raise ConfigError(
        f"{key} takes one value. Several values are allowed for agent, seed, agent.NAME.KEY, "
        "world_model.NAME.KEY, data.KEY and pixels."
    )


def _parse_seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_SEED:
        raise ConfigError(
            f"A training seed must be a whole number from 0 to {MAX_SEED}, got {text!r}."
        )
    return int(text)
