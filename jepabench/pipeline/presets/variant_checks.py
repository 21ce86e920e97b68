"""Checks of the changed values of a variant, as far as possible without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_method, instantiate

from jepabench.envs.errors import UnknownNameError, unknown_name
from jepabench.pipeline.config import load_agent, load_preset
from jepabench.pipeline.presets.search_path import ConfigError
from jepabench.pipeline.presets.settings import check_training
from jepabench.pipeline.presets.variants import Variant
from jepabench.pipeline.schema import AgentPreset, SuiteConfig

_DATA = ("behaviour", "num_episodes", "num_steps", "num_validation")
_MODEL_SECTIONS = ("kind", "model", "training")


def check_variant(name: str, suite: SuiteConfig) -> None:
    """Check every changed value of a variant, as far as possible without training.

    Args:
        name: Name of the variant.
        suite: Suite in which it runs.

    Raises:
        ConfigError, UnknownNameError: A key or a value is wrong. The message says which.
    """
    changes, preset = Variant.parse(name).changes, load_agent(name)
    for key in changes.preset.get("agent", {}):
        _try_to_build(f"{key} of {name}", preset.agent[key])
    if "train" in changes.preset and preset.train:
        _check_train(name, preset.train)
    if changes.world_model or "world_model" in changes.preset:
        _check_world_model(preset, changes.world_model)
    _check_data(changes.data, suite)


def _check_world_model(preset: AgentPreset, changes: Mapping[str, Any]) -> None:
    model = preset.world_model
    if not model:
        raise ConfigError(f"Agent {preset.name!r} has no world model.")
    for section in changes:
        if section not in _MODEL_SECTIONS:
            raise unknown_name(f"section of world model {model!r}", section, _MODEL_SECTIONS)
    check_world_model(load_preset("world_model", model, changes))


def _check_train(name: str, train: Mapping[str, Any]) -> None:
    from jepabench.pipeline.presets.train_settings import check_train_settings

    settings = {key: value for key, value in train.items() if key != "_target_"}
    try:
        check_train_settings(get_method(train["_target_"]), settings)
    except UnknownNameError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The training settings of {name} are invalid: {error}") from error


def _check_data(changes: Mapping[str, Any], suite: SuiteConfig) -> None:
    if changes and not suite.data:
        raise ConfigError(f"Suite {suite.name} collects no data.")
    for key, value in changes.items():
        if key not in _DATA:
            raise unknown_name("setting of the data", key, _DATA)
        is_number = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if key != "behaviour" and not is_number:
            raise ConfigError(f"data.{key} must be a whole number of at least 1, got {value!r}.")


def _try_to_build(what: str, settings: Any) -> None:
    """Build a part of an agent, such as its planner, to find a wrong value early."""
    if not isinstance(settings, Mapping) or "_target_" not in settings:
        return
    try:
        instantiate(settings, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise ConfigError(f"The {what} is invalid: {' '.join(str(cause).split())}") from error


def check_world_model(preset: Mapping[str, Any]) -> None:
    """Check the options and the training settings of a world model's preset.

    Raises:
        ConfigError: A value has the wrong type or is out of range.
        UnknownNameError: There is no such key, or no such value of one.
    """
    from jepabench.world_models.registry import find_kind
    from jepabench.world_models.settings import make_config

    check_training(preset["training"])
    kind = preset["kind"]
    config_class: Any = find_kind(kind).config_class  # pyright: ignore[reportAttributeAccessIssue]
    options = {"action_size": 1, **preset["model"]}  # training sets the size from the task
    try:
        make_config(f"option of world model {kind!r}", config_class, options)
    except UnknownNameError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model: {error}") from error
