"""Agents and other code of other packages, and digests of this code.

An agent is named ``package.module:Class`` or by an entry point of the group ``jepabench.agents``.
Planners, costs and training functions are named by ``_target_`` in a preset, and kinds of world
models by an entry point of the group ``jepabench.world_models``.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from jepabench.envs.registry import find_entry_point, list_entry_points
from jepabench.pipeline.presets.sources import digest_files, digest_sources, find_paths

GROUP = "jepabench.agents"
KIND_GROUP = "jepabench.world_models"
_Word = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f]*$")]


class _Stated(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AgentTrack(_Stated):
    """The track of another package's agent, which states what it may use."""

    observation: _Word
    data: _Word
    privilege: Literal["none", "simulator"]


class AgentCost(_Stated):
    """Costs of an agent before its first episode. None means that a cost is not stated."""

    transitions: Annotated[int, Field(ge=0)] | None = None
    train_seconds: Annotated[float, Field(ge=0)] | None = None
    parameters: Annotated[int, Field(ge=0)] | None = None


class AgentWords(_Stated):
    """Attributes that the class of another package's agent may state."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    track: AgentTrack
    learns: bool | None = None
    cost: AgentCost | None = None
    files: tuple[str, ...] = ()

    def spent(self) -> dict[str, float | None]:
        """Return the costs. They are zero only if the class states ``learns = False``."""
        if self.cost is None and self.learns is False:
            return {"transitions": 0, "train_seconds": 0.0, "parameters": 0}
        return (self.cost or AgentCost()).model_dump()


class PluginError(ValueError):
    """An agent of another package cannot be used."""


def preset_of_plugin(name: str) -> dict[str, Any] | None:
    """Return the preset of another package's agent, or None if no package has this agent.

    The class needs ``observation_keys``. Optional attributes are those of ``AgentWords``.

    Raises:
        PluginError: The module cannot be imported, it has no agent of this name, or an attribute of
            the class is invalid.
    """
    if ":" in name:
        return _preset(name, name)
    point = find_entry_point(GROUP, name)
    return _preset(point.value, name, name=name) if point else None


def plugin_names() -> list[str]:
    """Return the names of agents that installed packages declare."""
    return list_entry_points(GROUP)


def find_agent_package(name: str) -> str:
    """Return the distribution and version that declares an agent, or an empty string."""
    point = find_entry_point(GROUP, name)
    return f"{point.dist.name} {point.dist.version}" if point and point.dist else ""


def find_package(target: str) -> str:
    """Return the distribution and version of ``package.module.Class``, or an empty string."""
    found = metadata.packages_distributions().get(target.partition(".")[0], [])
    return f"{found[0]} {metadata.version(found[0])}" if found else ""


def freeze_files(preset: dict[str, Any]) -> dict[str, Any]:
    """Return the preset of another package's agent with a digest of the files that it names."""
    paths = find_paths({key: value for key, value in preset["agent"].items() if key != "_target_"})
    return {**preset, "files": digest_files(Path(), paths)} if paths else preset


def add_code_digest(group: str, preset: dict[str, Any]) -> dict[str, Any]:
    """Return a preset with a digest of other packages' code that it names.

    A change of the code therefore changes the hashes of stages. A preset that names only code of
    JEPA Bench is returned unchanged.

    Raises:
        PluginError: The code cannot be imported.
    """
    names = [target for target in _list_targets(preset) if not target.startswith("jepabench.")]
    if group == "world_model" and (module := _find_kind_module(str(preset.get("kind")))):
        names.append(module)
    if not names:
        return preset
    digests = sorted({_digest_code(name) for name in names})
    return {**preset, "code": digests[0] if len(digests) == 1 else digests}


def _list_targets(settings: Any) -> list[str]:
    """Return every ``_target_`` of nested settings."""
    if isinstance(settings, Mapping):
        own = [settings["_target_"]] if isinstance(settings.get("_target_"), str) else []
        return own + [target for value in settings.values() for target in _list_targets(value)]
    if isinstance(settings, list | tuple):
        return [target for value in settings for target in _list_targets(value)]
    return []


def _find_kind_module(kind: str) -> str:
    """Return the module of another package's kind of world model, or an empty string."""
    if point := find_entry_point(KIND_GROUP, kind):
        return point.module
    registry = sys.modules.get("jepabench.world_models.registry")  # it imports torch
    if registry is None or kind not in registry.list_kinds():
        return ""
    module = registry.find_kind(kind).__module__
    return "" if module.startswith("jepabench.") else module


@cache
def _digest_code(name: str) -> str:
    """Return the version of an installed package, or a digest of the sources of other code.

    ``name`` is a module, or a class or function in a module.
    """
    module = _import_longest(name)
    file = Path(str(getattr(module, "__file__", "") or ""))
    if {"site-packages", "dist-packages"} & set(file.parts) and (package := find_package(name)):
        return package
    return digest_sources(module)


def _import_longest(name: str) -> ModuleType:
    """Import the module of ``package.module.Class``, which may be nested in a class."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise PluginError(f"{name!r} cannot be imported: {error}.") from error
    raise PluginError(
        f"{name!r} cannot be imported: there is no module {parts[0]!r}. "
        "Install its package, or run the command in its folder."
    )


def _preset(entry_point: str, shown: str, name: str = "") -> dict[str, Any]:
    module_name, _, class_name = entry_point.partition(":")
    try:
        module = importlib.import_module(module_name)
        kind = getattr(module, class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(
            f"Agent {shown!r}: {error}. "
            "Install its package into this environment, or run the command in its folder."
        ) from error
    missing = [method for method in ("reset", "act", "model_steps") if not hasattr(kind, method)]
    if missing:
        raise PluginError(
            f"{shown!r} is not an agent, because it lacks {', '.join(missing)}. See "
            "jepabench.agents.base.Agent."
        )
    try:
        words = AgentWords(
            name=name or _stated_name(kind) or _derive_name(module_name, class_name),
            track=AgentTrack.model_validate(_derive_track(kind)),
            learns=getattr(kind, "learns", None),
            cost=getattr(kind, "cost", None),
            files=getattr(kind, "files", ()),
        )
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise PluginError(
            f"Agent {shown!r} declares an invalid {place}: {problem['msg']}, "
            f"got {problem['input']!r}."
        ) from error
    seeded = "training_seed" in inspect.signature(kind).parameters
    preset: dict[str, Any] = {
        "name": words.name,
        "track": words.track.model_dump(),
        "learns": bool(words.learns),
        "agent": {"_target_": f"{module_name}.{class_name}"},
        "code": digest_sources(module),
        "cost": words.spent(),
    }
    if words.learns:
        preset["per_seed"] = seeded
    if words.files:
        home = Path(str(module.__file__)).resolve().parent
        try:
            preset["weights"] = digest_files(home, words.files)
        except FileNotFoundError as error:
            raise PluginError(
                f"Agent {shown!r} lists files that cannot be read: {error}"
            ) from error
    return preset


def _stated_name(kind: type) -> str:
    name = getattr(kind, "name", "")
    return name if isinstance(name, str) else ""


def _derive_name(module_name: str, class_name: str) -> str:
    """Return a name that is unique among presets and classes of other modules."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", class_name).lower().removesuffix("-agent")
    return f"{module_name.replace('_', '-').lower()}.{words}"


def _derive_track(kind: type) -> dict[str, Any]:
    keys = set(getattr(kind, "observation_keys", ()))
    seen = "pixels" if {"pixels", "goal_pixels"} & keys else "state" if keys else "none"
    return {"observation": seen, "data": "none", "privilege": "none"} | dict(
        getattr(kind, "track", {})
    )
