"""Sweeps: variants of agents for every combination of the values of their settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from jepabench.envs.errors import unknown_name
from jepabench.pipeline.config import load_agent
from jepabench.pipeline.presets.search_path import ConfigError
from jepabench.pipeline.presets.variants import Variant, parse_override

MAX_VARIANTS = 1000


def expand_values(key: str, text: str) -> list[str]:
    """Return the values of ``64,128``, ``choice(64, 128)`` or ``range(0, 3)`` as strings.

    Raises:
        ConfigError: The text is malformed, or has too many values.
    """
    override = parse_override(key, text)
    if not override.is_sweep_override():
        return [text]
    values = list(itertools.islice(override.sweep_string_iterator(), MAX_VARIANTS + 1))
    _check_count(len(values), key)
    if not values:
        raise ConfigError(f"{key}={text} has no values.")
    return list(dict.fromkeys(value.strip() for value in values))


def split_names(text: str) -> list[str]:
    """Split names at commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        depth += 0 if quote else (character in "[({") - (character in "])}")
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def is_variant_key(key: str) -> bool:
    """Return whether a key of the command line sets a value of agents."""
    section, _, rest = key.partition(".")
    return bool(rest) and section in ("agent", "world_model", "data")


def expand_agents(agents: Sequence[str], settings: Mapping[str, str]) -> list[str]:
    """Return the names of agents with every combination of the settings that apply to them.

    Args:
        agents: Names of agents, which may be variants.
        settings: Values by key. Keys are ``agent.NAME.KEY``, ``agent.KEY`` (for a single agent),
            ``world_model.NAME.KEY``, ``data.KEY`` and ``pixels``.

    Raises:
        ConfigError: A key applies to no agent, or there are too many combinations.
    """
    grids: dict[str, dict[str, list[str]]] = {agent: {} for agent in agents}
    for key, text in settings.items():
        values = expand_values(key, text)
        for agent, own_key in _find_agents(key, agents):
            grids[agent][own_key] = values
    expanded = []
    for agent, grid in grids.items():
        _check_count(math.prod(map(len, grid.values())), agent)
        variant = Variant.parse(agent)
        for values in itertools.product(*grid.values()):
            pairs = (*variant.settings, *zip(grid, values, strict=True))
            expanded.append(str(Variant(variant.base, pairs)))
    _check_count(len(expanded), "the sweep")
    return list(dict.fromkeys(expanded))


def _find_agents(key: str, agents: Sequence[str]) -> list[tuple[str, str]]:
    """Return the agents to which a key applies, with the key of the variant."""
    section, _, rest = key.partition(".")
    if section == "agent":
        bases = {agent: Variant.parse(agent).base for agent in agents}
        named = [agent for agent, base in bases.items() if rest.startswith(f"{base}.")]
        if named:
            return [(agent, rest.removeprefix(f"{bases[agent]}.")) for agent in named]
        if len(agents) == 1:
            return [(agents[0], rest)]
        raise unknown_name(
            f"agent of this run, in {key!r} (agent.NAME.KEY)",
            rest.partition(".")[0],
            bases.values(),
        )
    if section == "world_model":
        return _find_users_of_model(key, rest, agents)
    found = [(agent, key) for agent in agents if _depends_on(agent, section)]
    if not found:
        raise ConfigError(f"{key} changes no agent of this run: {', '.join(agents)}.")
    return found


def _find_users_of_model(key: str, rest: str, agents: Sequence[str]) -> list[tuple[str, str]]:
    models = {agent: load_agent(agent).world_model for agent in agents}
    found = [
        (agent, f"world_model.{rest.removeprefix(f'{model}.')}")
        for agent, model in models.items()
        if model and rest.startswith(f"{model}.")
    ]
    if not found:
        raise unknown_name(
            f"world model of this run, in {key!r} (world_model.NAME.KEY)",
            rest.partition(".")[0],
            sorted({model for model in models.values() if model}),
        )
    return found


def _depends_on(agent: str, section: str) -> bool:
    """Return whether an agent's result depends on the suite's data, or on the size of frames."""
    preset = load_agent(agent)
    if section == "pixels":
        return preset.track["observation"] == "pixels"
    return bool(preset.world_model or preset.inputs)


def _check_count(count: int, what: str) -> None:
    if count > MAX_VARIANTS:
        raise ConfigError(
            f"{what} expands to more than {MAX_VARIANTS} variants. Give fewer values."
        )
