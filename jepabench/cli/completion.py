"""Shell completion of verbs, options, settings, suites, agents, tasks and checkpoints.

It needs argcomplete (``pip install 'jepabench[completion]'``) and one line in the shell's startup
file: ``eval "$(register-python-argcomplete jepabench)"``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jepabench.envs.registry import list_tasks
from jepabench.envs.task import short_name
from jepabench.world_models.training.tracking import TRACKERS

ENVIRONMENT = "_ARGCOMPLETE"  # set by the shell while it completes
_KEYS = (
    "suite=",
    "agent=",
    "seed=",
    "output=",
    "num_workers=",
    "launcher=",
    "pixels=",
    "tracker=",
    "task=",
)


def complete(
    parser: argparse.ArgumentParser,
    parsers: Mapping[str, argparse.ArgumentParser],
    configure: Callable[[str], object],
) -> None:
    """Print the completions that the shell asks for, and exit.

    Args:
        parser: Parser of the command.
        parsers: Parser of each verb, without arguments.
        configure: Function that adds the arguments of a verb to its parser.
    """
    import argcomplete

    words = os.environ.get("COMP_LINE", "").split()
    if verb := next((word for word in words if word in parsers), None):
        configure(verb)
        for action in parsers[verb]._actions:
            if completer := _COMPLETERS.get(action.dest):
                action.completer = completer  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def complete_settings(prefix: str, **_context: Any) -> list[str]:
    """Return the settings ``KEY=VALUE`` that start with ``prefix``."""
    from jepabench.pipeline.presets.search_path import list_presets

    key, separator, value = prefix.partition("=")
    if not separator:
        return [*_KEYS, *_list_agent_keys(key)]
    if key == "agent":
        before, comma, _ = value.rpartition(",")
        return [f"agent={before}{comma}{name}" for name in _list_agents()]
    values: dict[str, Callable[[], Iterable[str]]] = {
        "suite": lambda: list_presets("suite"),
        "launcher": lambda: list_presets("launcher"),
        "tracker": lambda: TRACKERS,
        "task": complete_tasks,
        "checkpoint": complete_checkpoints,
    }
    return [f"{key}={name}" for name in values[key]()] if key in values else []


def complete_agents(**_: Any) -> list[str]:
    """Return the names of all agents."""
    return _list_agents()


def complete_world_models(**_: Any) -> list[str]:
    """Return the names of the presets of world models."""
    from jepabench.pipeline.presets.search_path import list_presets

    return list(list_presets("world_model"))


def complete_tasks(**_: Any) -> list[str]:
    """Return the short names and the ids of all tasks."""
    return [name for spec in list_tasks() for name in (short_name(spec.id), spec.id)]


def complete_checkpoints(**_: Any) -> list[str]:
    """Return the names of the reference checkpoints."""
    from jepabench.pipeline.checkpoints import reference_names

    return reference_names()


def _list_agents() -> list[str]:
    from jepabench.pipeline.presets.plugins import plugin_names
    from jepabench.pipeline.presets.search_path import list_presets

    return [*list_presets("agent"), *plugin_names()]


def _list_agent_keys(prefix: str) -> list[str]:
    """Return the keys ``agent.NAME.KEY`` of a preset, or the names of agents before that."""
    from jepabench.pipeline.config import load_preset

    if not prefix.startswith("agent."):
        return ["agent."]
    names = [name for name in _list_agents() if prefix.startswith(f"agent.{name}.")]
    if not names:
        return [f"agent.{name}." for name in _list_agents()]
    preset = load_preset("agent", names[0])
    keys = [*_list_keys(preset["agent"]), *_list_keys(preset.get("train", {}), "train.")]
    return [f"agent.{names[0]}.{key}=" for key in keys]


def _list_keys(settings: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _list_keys(value, f"{prefix}{key}.")
        elif key != "_target_":
            yield f"{prefix}{key}"


_COMPLETERS: Mapping[str, Callable[..., list[str]]] = {
    "overrides": complete_settings,
    "settings": complete_settings,
    "agent": complete_agents,
    "first": complete_agents,
    "second": complete_agents,
    "world_model": complete_world_models,
    "task": complete_tasks,
    "task_id": complete_tasks,
    "checkpoint": complete_checkpoints,
}
