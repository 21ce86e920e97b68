"""Checks of changed settings, before any work starts.

A preset states only differences from the defaults of its class. Other allowed keys are therefore
read from the signature of the class.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object

from jepabench.envs.errors import UnknownNameError, unknown_name
from jepabench.pipeline.presets.search_path import ConfigError

# Functions that pass keyword arguments on, and the class that receives them.
_FORWARDS = {
    "jepabench.agents.build.build_mpc": "jepabench.agents.mpc.agent.MPCAgent",
    "jepabench.agents.model_free.online.off_policy.train": (
        "jepabench.agents.model_free.online.off_policy.OffPolicyConfig"
    ),
    "jepabench.agents.model_free.online.ppo.train": (
        "jepabench.agents.model_free.online.ppo.PPOConfig"
    ),
}


def check_settings(preset: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Check that an agent's preset, or the class that it configures, has every changed key.

    Raises:
        UnknownNameError: There is no such key. The message suggests the nearest one.
        ConfigError: The agent is not trained, or has no world model.
    """
    name = preset["name"]
    for section, change in changes.items():
        if section not in preset:
            missing = {"train": "is not trained by a suite", "world_model": "has no world model"}
            raise ConfigError(f"Agent {name!r} {missing.get(section, f'has no {section}')}.")
        if isinstance(change, Mapping):
            _check_keys(preset[section], change, f"setting of agent {name!r}")


def _check_keys(known: Mapping[str, Any], changes: Mapping[str, Any], what: str) -> None:
    for key, value in changes.items():
        if key in known:
            if isinstance(value, Mapping):
                if not isinstance(known[key], Mapping):
                    raise ConfigError(
                        f"{key!r} of the {what.removeprefix('setting of ')} is {known[key]!r} and "
                        "has no nested settings. Set its whole value."
                    )
                _check_keys(known[key], value, what)
            continue
        allowed = _list_parameters(known)
        if allowed is not None and key not in allowed:
            raise unknown_name(what, key, sorted({*known, *allowed} - {"_target_"}))


def _list_parameters(settings: Mapping[str, Any]) -> list[str] | None:
    """Return the keys that the target of settings accepts, or None if they are unknown."""
    target = settings.get("_target_")
    if target is None:
        return None
    receiver = get_object(_FORWARDS.get(str(target), str(target)))
    names = list(inspect.signature(get_object(target)).parameters)
    parameters = inspect.signature(receiver).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [*names, *(parameter.name for parameter in parameters)]


def check_training(settings: Mapping[str, Any]) -> None:
    """Check the training settings of a world model's preset.

    Raises:
        ConfigError: A value has the wrong type or is out of range.
        UnknownNameError: There is no such setting, or no such value of one.
    """
    from jepabench.world_models.training.config import TrainConfig

    try:
        TrainConfig.from_settings(settings)
    except UnknownNameError:
        raise
    except ValueError as error:
        raise ConfigError(f"training: {error}") from error
