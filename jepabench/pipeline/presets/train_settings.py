"""Check the settings of a training function before there is data to train on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jepabench.agents.collection import online_planning
from jepabench.agents.collection.online_planning import OnlineConfig
from jepabench.agents.costs import learned_distance
from jepabench.agents.costs.learned_distance import DistanceConfig
from jepabench.agents.model_free.offline.timed import TimedPolicy
from jepabench.agents.model_free.offline.training import train_policy
from jepabench.agents.model_free.online.training import train_online
from jepabench.agents.mpc import distance_and_proposals
from jepabench.agents.subgoals import graph, hierarchy
from jepabench.agents.subgoals.hierarchy import HierarchyConfig
from jepabench.envs.errors import unknown_name
from jepabench.world_models.settings import make_config

_CONFIGS: Mapping[Callable[..., None], type] = {
    learned_distance.train: DistanceConfig,
    graph.train: DistanceConfig,
    hierarchy.train: DistanceConfig,
    distance_and_proposals.train: DistanceConfig,
    online_planning.train: OnlineConfig,
}
# Arguments that are settings of their own.
_PARTS: Mapping[str, type] = {"proposal": TimedPolicy.config_type, "levels": HierarchyConfig}


def check_train_settings(function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Check the settings that a preset passes to a training function.

    Arguments that the function names itself are checked when it runs, and so are the settings of
    functions from other packages that accept any keyword.

    Args:
        function: Training function.
        settings: Keyword arguments of the preset, without those that the pipeline adds.

    Raises:
        UnknownNameError: There is no such setting, or no such value of one.
        ValueError: A value is out of range.
    """
    parameters = inspect.signature(function).parameters.values()
    named = [one.name for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD]
    others = {name: value for name, value in settings.items() if name not in named}
    for name in settings.keys() & _PARTS.keys() & set(named):
        make_config(f"setting of {name}", _PARTS[name], settings[name] or {})
    config = _find_config(function)
    if config is not None:
        make_config("training setting", config, others)
    elif len(named) == len(parameters) and others:
        raise unknown_name("training setting", next(iter(others)), named)


def _find_config(function: Callable[..., Any]) -> type | None:
    """Return the class of a function's settings, None if it has none or it is not known."""
    if isinstance(function, partial):
        if function.func is train_policy:
            return function.args[0].config_type
        if function.func is train_online:
            return function.args[0]
    return _CONFIGS.get(function)
