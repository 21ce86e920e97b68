"""Factors of variation: named changes of looks and physics that are applied at reset.

A world declares its factors in ``GoalEnv._factors``. The values of an episode are stored in
``EpisodeDraw.world``, so that snapshots, replays and goal images include them. They come from
random streams of their own: start and goal of an episode are the same with and without variation,
and the value of one factor does not depend on which others vary. Ready-made factors of MuJoCo
worlds are in ``jepabench.envs.mujoco_world.scenery``.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepabench.envs.errors import unknown_name

LEVELS = ("none", "mild", "hard")
# Entries that an event adds to a world: the control step at which it ends, and for FROZEN also the
# index of the moving object.
REVERSED, FROZEN = "reversed", "frozen"
NUM_DISTRACTORS = 4  # discs that a world can show
_NUM_ARRANGEMENTS = 10_000
Range = tuple[ArrayLike, ArrayLike]
Value = NDArray[np.float64]


class VariationError(ValueError):
    """A factor cannot have this value, or the world has no factors."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factor:
    """One property of a world that can vary.

    Attributes:
        name: Lower-case words joined by underscores, such as ``ball_colour``.
        description: What the numbers mean.
        unit: Unit of the numbers; empty for ratios.
        default: The numbers [K] of the unchanged world.
        apply: Set the numbers. The effect depends only on them, not on earlier values, and
            ``apply(default)`` restores the unchanged world exactly.
        allowed: Lowest and highest permitted value, one for all numbers or one for each.
        mild: Range from which the level ``mild`` draws uniformly; None if it has no effect.
        hard: Range of the level ``hard``.
        names: Words that stand for numbers.
        whole: Whether the numbers are integers.
    """

    name: str
    description: str
    unit: str = ""
    default: ArrayLike
    apply: Callable[[Value], object]
    allowed: Range
    mild: Range | None = None
    hard: Range | None = None
    names: Mapping[str, ArrayLike] = field(default_factory=dict)
    whole: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "default", np.array(self.default, np.float64).reshape(-1))
        for value in (self.default, *(self.mild or ()), *(self.hard or ()), *self.names.values()):
            self.value(np.broadcast_to(np.asarray(value, np.float64), self.size))
        if clash := set(self.names) & set(LEVELS):
            raise VariationError(
                f"Factor {self.name!r}: {sorted(clash)} are levels and cannot be names of values."
            )

    @property
    def size(self) -> int:
        """Number of values, K."""
        return np.size(self.default)

    def value(self, given: Any) -> Value:
        """Return the numbers [K] that a user gave directly or by name.

        Raises:
            UnknownNameError: The word is neither a level nor a name.
            VariationError: The count is wrong, or a number is not finite, out of range or not
                whole.
        """
        if isinstance(given, str):
            if given not in self.names:
                raise unknown_name(f"value of {self.name}", given, (*LEVELS, *self.names))
            given = self.names[given]
        low, high = (
            np.broadcast_to(np.asarray(bound, np.float64), self.size) for bound in self.allowed
        )
        try:
            value = np.array(given, np.float64).reshape(-1)
        except (TypeError, ValueError):
            value = np.empty(0)
        fits = value.shape == (self.size,) and bool(((value >= low) & (value <= high)).all())
        if not fits or (self.whole and (value != np.round(value)).any()):
            kind = "whole numbers" if self.whole else "numbers"
            raise VariationError(
                f"Factor {self.name!r} takes {self.size} {kind} {range_text(self.allowed)}"
                f"{f' [{self.unit}]' if self.unit else ''}, "
                f"or {', '.join([*self.names, *LEVELS])}; got {given!r}."
            )
        return value

    def draw(self, level: str, rng: np.random.Generator) -> Value | None:
        """Return the numbers [K] that a level draws, or None if it has no effect."""
        drawn = {"none": None, "mild": self.mild, "hard": self.hard}[level]
        if drawn is None:
            return None
        low, high = (np.asarray(bound, np.float64) for bound in drawn)
        if self.whole:
            return np.floor(rng.uniform(low, high + 1.0, size=self.size))
        return rng.uniform(low, high, size=self.size)


class Variations:
    """The factors of one world and their present values.

    Args:
        owner: Id of the task, for messages.
        declare: Return the factors, with unique names. Called when they are first needed.
    """

    def __init__(self, owner: str, declare: Callable[[], Sequence[Factor]]) -> None:
        self._owner, self._declare = owner, declare
        self._known_names: tuple[str, ...] | None = None
        self.renew()

    def renew(self) -> None:
        """Forget all values after the world was rebuilt without variation.

        The factors are declared again when they are next needed.
        """
        self._declared: dict[str, Factor] | None = None
        self._present: dict[str, Value] = {}

    @property
    def factors(self) -> tuple[Factor, ...]:
        """All factors, in the order of their declaration."""
        return tuple(self._factors.values())

    @property
    def _factors(self) -> dict[str, Factor]:
        if self._declared is None:
            factors = self._declare()
            self._declared = {factor.name: factor for factor in factors}
            if len(self._declared) < len(factors):
                raise VariationError(
                    f"{self._owner}: names of factors must be unique, "
                    f"got {[factor.name for factor in factors]}."
                )
            self._known_names = tuple(self._declared)
        return self._declared

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the factors, without declaring them again after ``renew``."""
        return tuple(self._factors) if self._known_names is None else self._known_names

    def __contains__(self, name: object) -> bool:
        return name in self._factors

    def __getitem__(self, name: str) -> Factor:
        if name not in self._factors:
            raise unknown_name(f"variation of {self._owner}", name, self._factors)
        return self._factors[name]

    def checked(self, request: Any) -> dict[str, str | Value]:
        """Validate ``options["variation"]``, and return a level or numbers per factor.

        Args:
            request: None, a level for all factors, or a mapping from factors to levels, numbers or
                names of values.

        Raises:
            UnknownNameError: A factor, level or name is unknown.
            VariationError: A factor cannot have these numbers, or the world has no factors.
        """
        if request is None or isinstance(request, str):
            level = request or "none"
            if level not in LEVELS:
                raise unknown_name("level of variation", level, LEVELS)
            if level != "none" and not self._factors:
                raise VariationError(
                    f"{self._owner} has no factors of variation; leave the option out."
                )
            return dict.fromkeys(self._factors, level) if level != "none" else {}
        if not isinstance(request, Mapping):
            raise VariationError(
                f"variation must be one of {LEVELS} or a mapping of factors to values, "
                f"got {request!r}."
            )
        checked: dict[str, str | Value] = {}
        for name, given in request.items():
            factor = self[name]
            checked[name] = (
                given if isinstance(given, str) and given in LEVELS else factor.value(given)
            )
        return checked

    def draw(
        self, checked: Mapping[str, str | Value], rng: np.random.Generator
    ) -> dict[str, Value]:
        """Return the requested values that differ from the default, by factor.

        ``rng`` is not advanced.
        """
        if not checked:
            return {}
        entropy = int(copy.deepcopy(rng).integers(2**63))
        values: dict[str, Value | None] = {
            name: self._factors[name].draw(wanted, _stream(entropy, name))
            if isinstance(wanted, str)
            else wanted
            for name, wanted in checked.items()
        }
        return {name: value for name, value in values.items() if value is not None}

    def layout(self, world: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the entries of ``world`` that belong to neither factors nor events."""
        return {
            name: value
            for name, value in world.items()
            if name not in (REVERSED, FROZEN, *self._names)
        }

    def apply(self, world: Mapping[str, NDArray[Any]]) -> None:
        """Set each factor to its value in ``world``, or to its default."""
        wanted = {name: world[name] for name in self._names if name in world}
        if not (wanted or self._present):
            return
        for name, factor in self._factors.items():
            value = wanted.get(name, factor.default)
            if not np.array_equal(value, self._present.get(name, factor.default)):
                factor.apply(np.asarray(value, np.float64))
        self._present = wanted


def _stream(entropy: int, name: str) -> np.random.Generator:
    return np.random.default_rng(
        [entropy, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")]
    )


def range_text(bounds: Range | None) -> str:
    """Return a range as text, such as ``0.4 ... 1.3``.

    Equal bounds give one number, and None gives a dash.
    """
    if bounds is None:
        return "-"
    low, high = (_text(np.atleast_1d(np.asarray(bound, np.float64))) for bound in bounds)
    return low if low == high else f"{low} ... {high}"


def _text(bound: NDArray[np.float64]) -> str:
    values = [f"{value:.4g}" for value in bound.tolist()]
    return values[0] if len(set(values)) == 1 else " ".join(values)


def make_distractor_factor(apply: Callable[[Value], object]) -> Factor:
    """Return the factor of drawn discs that have no physics.

    ``apply`` gets the number of discs and the seed of their places and colours.
    """
    last = _NUM_ARRANGEMENTS - 1
    return Factor(
        name="distractors",
        description="number of drawn discs without physics, and the index of their arrangement",
        default=(0.0, 0.0),
        apply=apply,
        allowed=((0.0, 0.0), (NUM_DISTRACTORS, last)),
        mild=((1.0, 0.0), (2.0, last)),
        hard=((3.0, 0.0), (NUM_DISTRACTORS, last)),
        whole=True,
    )
