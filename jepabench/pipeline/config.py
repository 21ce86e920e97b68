"""Compose configurations with Hydra, and report mistakes in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from jepabench.envs.errors import unknown_name
from jepabench.pipeline.presets.plugins import (
    add_code_digest,
    freeze_files,
    plugin_names,
    preset_of_plugin,
)
from jepabench.pipeline.presets.sb3_file import PREFIX, preset_of_sb3
from jepabench.pipeline.presets.search_path import (
    CONF,
    ConfigError,
    SearchPath,
    get_search_path,
    list_presets,
)
from jepabench.pipeline.presets.settings import check_settings
from jepabench.pipeline.presets.variants import Variant
from jepabench.pipeline.schema import AgentPreset

LITERAL_KEYS = ("output", "launcher.folder")  # paths, which bypass Hydra's grammar
_ERRORS = (
    ConfigCompositionException,
    MissingConfigException,
    HydraException,
    OmegaConfBaseException,
    YAMLError,
)
_REQUIRED = {
    "agent": ("name", "track", "agent"),
    "world_model": ("kind", "model", "training"),
}


def options(group: str) -> list[str]:
    """Return the names of the presets of a group ("suite", "agent", "world_model"), sorted.

    Raises:
        ConfigError: Two presets have the same name.
    """
    return list(list_presets(group))


def compose_root(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose ``conf/root.yaml`` with overrides such as ``suite=quick``.

    Raises:
        ConfigError: An override is malformed or names a key or preset that does not exist.
    """
    hydra_overrides, literal = [], {}
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise ConfigError(f"A setting has the form key=value, got {override!r}.")
        if key in ("suite", "launcher") and value not in options(key):
            raise unknown_name(key, value, options(key))
        if key in LITERAL_KEYS:
            literal[key] = _unquote(key, value)
        else:
            hydra_overrides.append(override)
    root = _compose("root", hydra_overrides)
    for key, value in literal.items():
        *sections, name = key.split(".")
        section = root
        for part in sections:
            section = section[part]
        if name not in section:
            raise unknown_name("configuration key", key, section)
        section[name] = value
    return root


def _unquote(key: str, value: str) -> str:
    """Return a path without quotes around it."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    if not value.strip() or "\0" in value:
        raise ConfigError(f"{key}= needs a folder, got {value!r}.")
    return value


def load_preset(
    group: str, name: str, overrides: Mapping[str, Any] | Sequence[str] = ()
) -> dict[str, Any]:
    """Load a preset of a group and apply overrides.

    Overrides are dotted ``key=value`` strings or a nested mapping. The preset of an agent may also
    belong to another package (``jepabench.pipeline.presets.plugins``) or be a variant
    (``jepabench.pipeline.presets.variants``).

    Raises:
        UnknownNameError: There is no such preset.
        ConfigError: An override names a key that the preset does not have.
    """
    if group == "agent" and (variant := Variant.parse(name)).settings:
        return _apply_variant(load_preset(group, variant.base, overrides), variant)
    names = options(group)
    if group == "agent" and name not in names:
        plugged_in = _load_plugin(name, names, overrides)
        if plugged_in is not None:
            return plugged_in
    if name not in names:
        names += plugin_names() if group == "agent" else []
        raise unknown_name(group.replace("_", " "), name, names)
    known = deepcopy(_preset(group, name, get_search_path()))
    if isinstance(overrides, Mapping):
        if overrides:
            known = _plain(OmegaConf.merge(OmegaConf.create(known), _as_config(overrides)))
        return add_code_digest(group, known)
    for override in overrides:
        section = override.partition("=")[0].partition(".")[0]
        if section not in known:
            raise unknown_name(f"key of {group.replace('_', ' ')} {name!r}", section, known)
    if overrides:
        known = _compose(f"{group}/{name}", overrides)
    return add_code_digest(group, known)


def load_agent(name: str, overrides: Mapping[str, Any] | Sequence[str] = ()) -> AgentPreset:
    """Load the preset of an agent, as ``load_preset`` does.

    Raises:
        ConfigError: The preset has an unknown key.
    """
    return AgentPreset.from_config(load_preset("agent", name, overrides))


def _load_plugin(
    name: str, taken: Sequence[str], overrides: Mapping[str, Any] | Sequence[str]
) -> dict[str, Any] | None:
    """Return the preset of another package's agent with overrides, or None if there is none."""
    preset = preset_of_sb3(name) if name.startswith(PREFIX) else preset_of_plugin(name)
    if preset is None:
        return None
    if preset["name"] in taken:
        raise ConfigError(
            f"Agent {name!r} has the name of the preset {preset['name']!r}. "
            "Give its class another name."
        )
    merged = OmegaConf.merge(OmegaConf.create(preset), _as_config(overrides))
    return freeze_files(_plain(merged))


def _apply_variant(preset: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    changes = dict(variant.changes.preset)
    check_settings(preset, changes)
    merged = _plain(OmegaConf.merge(OmegaConf.create(dict(preset)), OmegaConf.create(changes)))
    merged["name"] += variant.suffix
    return add_code_digest("agent", merged)


def _as_config(overrides: Mapping[str, Any] | Sequence[str]) -> Any:
    if isinstance(overrides, Mapping):
        return OmegaConf.create(dict(overrides))
    return OmegaConf.from_dotlist(list(overrides))


@cache
def _preset(group: str, name: str, search_path: SearchPath) -> dict[str, Any]:
    """Return a preset without overrides.

    The result is cached, because composing takes 50 ms and the plan of a suite needs hundreds.
    """
    del search_path  # part of the key of the cache
    preset = _compose(f"{group}/{name}", ())
    path = list_presets(group)[name]
    if path.parents[1] != CONF:
        _check_own_preset(group, path, preset)
    return preset


def _check_own_preset(group: str, path: Path, preset: Mapping[str, Any]) -> None:
    """Check a preset from outside JEPA Bench: its required keys, and that it has its own name.

    Raises:
        ConfigError: A key is missing, or the key ``name`` differs from the name of the file.
    """
    missing = [key for key in _REQUIRED.get(group, ()) if key not in preset]
    if missing:
        raise ConfigError(
            f"{path} is not a preset of {group.replace('_', ' ')}: it lacks {', '.join(missing)}."
        )
    if preset.get("name", path.stem) != path.stem:
        raise ConfigError(
            f"{path} has the name {preset['name']!r}, but results are stored under the name of the "
            f"file. Write `name: {path.stem}`."
        )


def _compose(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    group = name.partition("/")[0] if "/" in name else None
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            # Keys of a preset are in the package of its group. A preset states only differences
            # from the defaults of its class, so overrides may add keys ("++"). The class rejects
            # unknown keys.
            composed = compose(
                name,
                overrides=[f"++{group}.{item}" for item in overrides] if group else list(overrides),
            )
    except _ERRORS as error:
        raise ConfigError(_sentence(error, name, overrides)) from error
    return _plain(composed[group] if group else composed)


def _plain(config: Any) -> dict[str, Any]:
    container = OmegaConf.to_container(config, resolve=True)
    if not isinstance(container, dict):
        raise ConfigError(f"A configuration must be a mapping, got {container!r}.")
    return {str(key): value for key, value in container.items()}


def _sentence(error: Exception, name: str, overrides: Sequence[str]) -> str:
    text = " ".join(str(error).splitlines()[:1]).strip()
    if isinstance(error, YAMLError):
        text = " ".join(str(error).split())
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            known = _keys(compose(name))
    except _ERRORS:  # the preset itself is wrong, not an override
        return f"The configuration {name!r} cannot be composed: {text}"
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key in text and key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            return (
                f"Unknown configuration key {key!r}.{hint} "
                "`jepabench run --show suite=quick` prints all keys."
            )
    return f"The configuration cannot be composed: {text}"


def _keys(config: Any, prefix: str = "") -> list[str]:
    if not isinstance(config, DictConfig):
        return []
    names = []
    for key in config:
        names += [f"{prefix}{key}", *_keys(config._get_node(key), f"{prefix}{key}.")]
    return names
