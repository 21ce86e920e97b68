"""Tracks, and the reference agents that floors and ceilings are taken from.

The kind of an agent follows from its track, never from its name. The names of the reference agents
are reserved: an agent that has one of them must have the reference's track, and a submission counts
as the reference only if ``pinned_actions.json`` names the digest of its actions for the version of
the suite (``is_reference``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from jepabench.envs.data.files import write_atomically
from jepabench.envs.registry import unknown_name

Kind = Literal["floor", "learned", "ceiling"]

OBSERVATIONS = ("pixels", "state", "none")
DATA = ("none", "offline reward-free", "offline with reward", "online")
PRIVILEGES = ("none", "simulator")
_VALUES = {"observation": OBSERVATIONS, "data": DATA, "privilege": PRIVILEGES}


class ReservedNameError(ValueError):
    """A reserved agent name with another track than the reference's."""


@dataclass(frozen=True, slots=True)
class Track:
    """What an agent may use (section 3 of the protocol).

    Attributes:
        observation: One of ``OBSERVATIONS``; ``none`` acts blindly.
        data: One of ``DATA``.
        privilege: One of ``PRIVILEGES``; ``simulator`` reads or steps the true world.

    Raises:
        UnknownNameError: A value that is not in these lists.
    """

    observation: str
    data: str
    privilege: str

    def __post_init__(self) -> None:
        for name, allowed in _VALUES.items():
            if getattr(self, name) not in allowed:
                raise unknown_name(f"{name} of a track", str(getattr(self, name)), allowed)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Track:
        """Return the track of a preset or a manifest.

        Raises:
            UnknownNameError: An unknown key or value.
            ValueError: A missing key.
        """
        for key in config:
            if key not in _VALUES:
                raise unknown_name("key of a track", str(key), _VALUES)
        missing = [name for name in _VALUES if name not in config]
        if missing:
            raise ValueError(f"A track needs {', '.join(_VALUES)}; missing: {', '.join(missing)}.")
        return cls(**{name: str(config[name]) for name in _VALUES})

    @property
    def kind(self) -> Kind:
        """Ceiling if it uses the simulator, floor if it neither observes nor learns."""
        if self.privilege == "simulator":
            return "ceiling"
        return "floor" if self.observation == self.data == "none" else "learned"

    def describe(self) -> str:
        """Return the track in words, such as ``pixels, offline reward-free``."""
        parts = [
            self.observation if self.observation != "none" else "no observation",
            self.data if self.data != "none" else "no data",
        ]
        return ", ".join(parts + (["simulator"] if self.privilege == "simulator" else []))


_BLIND, _TRUE = Track("none", "none", "none"), Track("state", "none", "simulator")
REFERENCES: Mapping[str, Track] = {
    "random": _BLIND,
    "hold-still": _BLIND,
    "oracle-cem": _TRUE,
    "expert": _TRUE,
}
FLOOR = "random"  # scores 0 on the normalised scale
CEILINGS = ("oracle-cem", "expert")  # the first that is present scores 1

PINS = Path(__file__).with_name("pinned_actions.json")


def load_pins(path: Path = PINS) -> dict[tuple[str, int], dict[str, str]]:
    """Return the SHA-256 of the actions of each reference row, by suite and version, then agent.

    Normalised scores need both a floor and a ceiling. A suite without an entry has raw scores only.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    pairs = ((key.rpartition("/"), digests) for key, digests in content.items())
    return {(name, int(version)): digests for (name, _, version), digests in pairs}


def pin_reference(name: str, actions_digest: str, suite: tuple[str, int], path: Path) -> None:
    """Add a reference row to a file of pins, or replace it.

    Args:
        name: Name of the agent, one of ``REFERENCES``.
        actions_digest: SHA-256 of ``actions.npz``.
        suite: Name and version.
        path: Path of the file; created if it does not exist.

    Raises:
        UnknownNameError: The agent is not a reference agent.
    """
    if name not in REFERENCES:
        raise unknown_name("reference agent", name, REFERENCES)
    pins = load_pins(path) if path.exists() else {}
    pins.setdefault(suite, {})[name] = actions_digest
    content = {
        f"{key[0]}/{key[1]}": dict(sorted(digests.items())) for key, digests in sorted(pins.items())
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")


PINNED_ACTIONS = load_pins()


def classify_agent(name: str, track: Track | Mapping[str, Any] | None = None) -> Kind:
    """Return the kind of an agent from its track.

    Args:
        name: Name of the agent. It decides only where the track is not known, and then only
            reserved names are references: everywhere else these names are bound to their track.
        track: Track of the agent, or the mapping of a preset or manifest; None if it is not known.

    Raises:
        ReservedNameError: A reserved name with another track.
        UnknownNameError: A value that tracks do not have.
    """
    if track is None:
        reference = REFERENCES.get(_normalise_name(name))
        return reference.kind if reference else "learned"
    found = track if isinstance(track, Track) else Track.from_config(track)
    check_reserved_name(name, found)
    return found.kind


def find_track(config: Mapping[str, Any]) -> Track | None:
    """Return the track of a preset, or None if it has a value that the protocol does not know.

    Agents of other packages may describe their tracks in their own words; then nothing follows.
    """
    try:
        return Track.from_config(config)
    except ValueError:
        return None


def check_reserved_name(name: str, track: Track) -> None:
    """Refuse an agent that has the name of a reference agent but another track.

    Names are compared without regard to case, and ``_`` counts as ``-``.

    Raises:
        ReservedNameError: The tracks differ.
    """
    reserved = _normalise_name(name)
    if reserved in REFERENCES and track != REFERENCES[reserved]:
        raise ReservedNameError(
            f"The agent name {name!r} is reserved for a reference agent with the track "
            f"{asdict(REFERENCES[reserved])}, but the track is {asdict(track)}. Rename the agent."
        )


def is_reference(
    name: str,
    actions_digest: str,
    suite: tuple[str, int],
    pinned: Mapping[tuple[str, int], Mapping[str, str]] = PINNED_ACTIONS,
) -> bool:
    """Return whether a submission is a reference row of its suite.

    Args:
        name: Name of the submission's agent.
        actions_digest: SHA-256 of its ``actions.npz``, as in the manifest.
        suite: Name and version.
        pinned: Digests for each suite and reference agent.
    """
    return name in REFERENCES and pinned.get(suite, {}).get(name) == actions_digest


def _normalise_name(name: str) -> str:
    return name.lower().replace("_", "-")
