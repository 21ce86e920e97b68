"""Composition of the configuration of a run from the words of a command."""

from __future__ import annotations

from jepabench.pipeline.config import ConfigError, compose_root, load_preset


def compose_run(overrides: list[str]) -> dict:
    """Compose the root configuration. ``agent=a,b`` and ``seed=0,1`` replace the suite's agents and seeds."""
    chosen: dict[str, list[str]] = {"agent": [], "seed": []}
    rest = []
    for item in overrides:
        key, _, value = item.partition("=")
        if key in chosen:
            chosen[key] += [name for name in value.split(",") if name]
        else:
            rest.append(item)
    root = compose_root(rest)
    if chosen["agent"]:
        root["suite"]["agents"] = chosen["agent"]
        for name in chosen["agent"]:
            load_preset("agent", name)
    if chosen["seed"]:
        if not all(seed.isdecimal() for seed in chosen["seed"]):
            raise ConfigError(
                f"Training seeds are whole numbers from 0, got seed={','.join(chosen['seed'])}."
            )
        root["suite"]["training_seeds"] = [int(seed) for seed in chosen["seed"]]
    return root
