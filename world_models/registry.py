"""Kinds of world models: what ``build_model`` can make, and how another package adds a kind.

A package registers a class with ``register_kind``, or declares it as an entry point, so that it is
found when a checkpoint names the kind::

    [project.entry-points."jepabench.world_models"]
    my-kind = "my_package.models:MyModel"

A kind that no installed distribution declares is an error; a module named in a file is never
imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import find_entry_point, list_entry_points
from jepabench.world_models.kinds.autoencoder import Autoencoder
from jepabench.world_models.kinds.ensemble import EnsembleJEPA
from jepabench.world_models.kinds.frozen_patches import FrozenFeatureModel
from jepabench.world_models.kinds.jepa import JEPA
from jepabench.world_models.kinds.latent_variable import LatentVariableJEPA
from jepabench.world_models.kinds.recurrent import RecurrentJEPA
from jepabench.world_models.settings import make_config

GROUP = "jepabench.world_models"
_KINDS: dict[str, type[nn.Module]] = {}


def register_kind(name: str, model_class: type[nn.Module]) -> None:
    """Register a kind of world model. Registering the same class twice does nothing.

    Args:
        name: Name in presets (``kind: ...``) and checkpoints.
        model_class: Module that implements ``WorldModel``. Its attribute ``config_class`` is a
            dataclass, the only argument of its constructor, and the model keeps it as ``config``.

    Raises:
        TypeError: The class has no dataclass as ``config_class``.
        ValueError: Another class has this name.
    """
    config_class = getattr(model_class, "config_class", None)
    if not isinstance(config_class, type) or not dataclasses.is_dataclass(config_class):
        raise TypeError(
            f"World model kind {name!r}: {model_class!r} needs a dataclass as `config_class`."
        )
    if _KINDS.setdefault(name, model_class) is not model_class:
        raise ValueError(
            f"World model kind {name!r} is registered already, by {_KINDS[name].__qualname__}. "
            "Choose another name."
        )


def list_kinds() -> list[str]:
    """Return the names of all kinds, registered or declared by an installed package, sorted."""
    return sorted({*_KINDS, *list_entry_points(GROUP)})


def find_kind(name: str) -> type[nn.Module]:
    """Return the class of a kind; load it if an installed distribution declares it.

    Raises:
        UnknownNameError: There is no such kind.
    """
    if name not in _KINDS:
        point = find_entry_point(GROUP, name)
        if point is None:
            raise unknown_name("world model kind", name, list_kinds())
        register_kind(name, point.load())
    return _KINDS[name]


def build_model(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """Build an untrained model.

    Args:
        kind: Name of a kind.
        config: Fields of its ``config_class``.

    Raises:
        UnknownNameError: There is no such kind, or the kind has no such option.
        TypeError, ValueError: An option is missing or has a bad value.
    """
    model_class = find_kind(kind)
    config_class: type = model_class.config_class  # pyright: ignore[reportAttributeAccessIssue, reportAssignmentType]
    return model_class(make_config(f"option of world model {kind!r}", config_class, config))


for _name, _class in (
    ("autoencoder", Autoencoder),
    ("dino-wm", FrozenFeatureModel),
    ("ensemble", EnsembleJEPA),
    ("jepa", JEPA),
    ("latent-variable", LatentVariableJEPA),
    ("recurrent", RecurrentJEPA),
):
    register_kind(_name, _class)
