"""Checks of settings that a user wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from jepabench.envs.errors import unknown_name

C = TypeVar("C")


def make_config(kind: str, config_class: type[C], settings: Mapping[str, Any]) -> C:
    """Return a configuration with these settings.

    Args:
        kind: Name of a setting in error messages, such as "training setting".
        config_class: Dataclass of the configuration.
        settings: Values of fields. The other fields keep their defaults.

    Raises:
        UnknownNameError: There is no such setting, or no such value of one.
        ValueError: A value is out of range.
    """
    known = [field.name for field in fields(config_class)]  # pyright: ignore[reportArgumentType]
    for name in settings:
        if name not in known:
            raise unknown_name(kind, name, known)
    return config_class(**settings)


def require_at_least(minimum: float, **values: Any) -> None:
    """Check that no setting is below ``minimum``.

    Raises:
        ValueError: A setting is below ``minimum``; the message names it.
    """
    for name, value in values.items():
        if not value >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}.")
