"""Agents of other packages: ``package.module:Class``, or a name that a package gives to one (entry points ``jepabench.agents``)."""

from __future__ import annotations

import importlib
import re
from importlib import metadata
from typing import Any

GROUP = "jepabench.agents"


class PluginError(ValueError):
    """An agent of another package that can not be used; the message says why."""


def preset_of_plugin(name: str) -> dict[str, Any] | None:
    """Returns the preset of another package's agent, or None if no package has one of this name.

    The class is asked for ``name``, ``track`` and ``observation_keys``; the first two may lack.

    Raises:
        PluginError: its module can not be imported, or there is no agent of this name in it.
    """
    if ":" in name:
        return _preset(name, name)
    for point in metadata.entry_points(group=GROUP):
        if point.name == name:
            return _preset(point.value, name) | {"name": name}
    return None


def plugin_names() -> list[str]:
    """Returns the names that installed packages give to their agents."""
    return sorted({point.name for point in metadata.entry_points(group=GROUP)})


def package_of(target: str) -> str:
    """Returns distribution and version of what ``package.module.Class`` is in; empty if it is no distribution's."""
    found = metadata.packages_distributions().get(target.partition(".")[0], [])
    return f"{found[0]} {metadata.version(found[0])}" if found else ""


def _preset(entry_point: str, shown: str) -> dict[str, Any]:
    module_name, _, class_name = entry_point.partition(":")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(
            f"Agent {shown!r}: {error}. Install its package into this environment, or start in its folder."
        ) from error
    missing = [method for method in ("reset", "act", "model_steps") if not hasattr(kind, method)]
    if missing:
        raise PluginError(
            f"{shown!r} is no agent: it lacks {', '.join(missing)} (jepabench.agents.base.Agent)."
        )
    keys = tuple(getattr(kind, "observation_keys", ()))
    seen = "pixels" if {"pixels", "goal_pixels"} & set(keys) else "state" if keys else "none"
    track = {"observation": seen, "data": "none", "privilege": "none"} | dict(
        getattr(kind, "track", {})
    )
    own_name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", class_name).lower().removesuffix("-agent")
    name = getattr(kind, "name", "")
    return {
        "name": name if isinstance(name, str) and name else own_name,
        "track": track,
        "learns": False,
        "agent": {"_target_": f"{module_name}.{class_name}"},
    }
