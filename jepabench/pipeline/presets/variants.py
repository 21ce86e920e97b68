"""Variants of agents: an agent with other settings, named ``AGENT+KEY=VALUE[+KEY=VALUE ...]``.

``jepa-cem+planner.num_samples=64`` is the preset ``jepa-cem`` with 64 candidates. The name fully
describes the variant, so every command can rebuild it. A variant has its own stages, folders and
rows. A key is one of

- ``KEY`` of the preset's section ``agent`` (``planner.num_samples``), or ``agent.KEY``,
- ``train.KEY``, a setting of the training of its policy,
- ``world_model``, another world model, or ``world_model.KEY``, a setting of its preset,
- ``data.KEY``, a setting of the suite's data,
- ``pixels``, the side length of the frames.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from jepabench.pipeline.presets.search_path import ConfigError

_SEPARATOR = re.compile(r"\+(?=[A-Za-z_][\w.-]*=)")
_UNSAFE = re.compile(r"[^A-Za-z0-9._=+-]+")
_MAX_LABEL = 120  # characters; file systems allow 255 bytes
_SECTIONS = ("agent", "train")


@dataclass(frozen=True)
class Changes:
    """Changes of a variant.

    Attributes:
        preset: Nested changes of the agent's preset.
        world_model: Nested changes of the preset of its world model.
        data: Changes of the suite's ``data``.
        pixels: Side length of the frames in pixels, or None if it is unchanged.
    """

    preset: Mapping[str, Any] = field(default_factory=dict)
    world_model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    pixels: int | None = None


UNCHANGED = Changes()


@dataclass(frozen=True)
class Variant:
    """An agent with changed settings, in the order in which they were given."""

    base: str
    settings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, name: str) -> Variant:
        """Return the variant of a name. A name without changes has no settings."""
        base, *parts = _SEPARATOR.split(name)
        pairs = [part.partition("=") for part in parts]
        return cls(base, tuple((key, value) for key, _, value in pairs))

    def __str__(self) -> str:
        return "+".join([self.base, *(f"{key}={value}" for key, value in self.settings)])

    @property
    def suffix(self) -> str:
        """Suffix of the names of folders and rows; empty without changes.

        Characters that are not allowed in the name of a folder are replaced, and a digest is added.
        """
        text = str(self).removeprefix(self.base)
        safe = _UNSAFE.sub("-", text)
        if safe == text and len(text) <= _MAX_LABEL:
            return text
        return f"{safe[:_MAX_LABEL]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def changes(self) -> Changes:
        """Changes of the variant, sorted by the part that they change.

        Raises:
            ConfigError: A value is malformed.
        """
        preset: dict[str, Any] = {}
        model: dict[str, Any] = {}
        data: dict[str, Any] = {}
        pixels = None
        for key, text in self.settings:
            value = parse_value(key, text)
            section, _, rest = key.partition(".")
            if key == "world_model":
                preset["world_model"] = value
            elif key == "pixels":
                pixels = _check_pixels(value)
            elif section == "world_model":
                _set(model, rest, value)
            elif section == "data":
                _set(data, rest, value)
            elif section in _SECTIONS and rest:
                _set(preset, key, value)
            else:
                _set(preset, f"agent.{key}", value)
        return Changes(preset, model, data, pixels)


def parse_value(key: str, text: str) -> Any:
    """Return the value of ``text`` in Hydra's grammar: a number, word, list or mapping.

    Raises:
        ConfigError: The text is malformed or has several values.
    """
    override = parse_override(key, text)
    if override.is_sweep_override():
        raise ConfigError(f"{key} takes a single value here, got {text!r}.")
    return override.value()


def parse_override(key: str, text: str) -> Override:
    """Return ``text`` as an override of Hydra, which may have several values.

    Raises:
        ConfigError: The text is malformed.
    """
    if not text.strip():
        raise ConfigError(f"{key}= has no value.")
    try:
        return OverridesParser.create().parse_override(f"value={text}")
    except HydraException as error:
        raise ConfigError(
            f"{key}={text} is malformed: {' '.join(str(error).split())[:200]}. "
            "Write VALUE, A,B,C, choice(A, B) or range(START, STOP, STEP), and quote other text."
        ) from error


def _check_pixels(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 16 <= value <= 1024:
        raise ConfigError(f"pixels must be a whole number from 16 to 1024, got {value!r}.")
    return value


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    *branches, leaf = path.split(".")
    for branch in branches:
        tree = tree.setdefault(branch, {})
    tree[leaf] = value
