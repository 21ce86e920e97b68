"""Factors of variation and moving objects of Push-T."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.mujoco_world.scenery import COLOURS
from jepabench.envs.pusht.drawing import Disc, Look
from jepabench.envs.pusht.placing import block_places, pusher_places
from jepabench.envs.pusht.shapes import plate
from jepabench.envs.pusht.simulation import PUSHER_RADIUS, SIZE, PushSimulation
from jepabench.envs.variations.factors import (
    NUM_DISTRACTORS,
    Factor,
    Value,
    make_distractor_factor,
)
from jepabench.envs.variations.moving_objects import MovingObject

_NO, _YES = 0.0, 1.0
_OTHER_SHAPE = plate("H", (0, 0, 30, 120), (90, 0, 120, 120), (30, 45, 90, 75))


class Table(Protocol):
    """What factors and events need of the world."""

    @property
    def simulation(self) -> PushSimulation: ...  # noqa: D102

    @property
    def look(self) -> Look: ...  # noqa: D102

    def change_look(self, **changes: Any) -> None:
        """Change how things look."""
        ...

    def set_block(self, *, scale: float | None = None, friction: float | None = None) -> None:
        """Change size (a multiple) or friction of the block."""
        ...


def factors(table: Table, *, friction: bool) -> tuple[Factor, ...]:
    """Return the factors of variation.

    ``friction`` says whether the friction of the block is one.
    """
    change = table.change_look
    size = Factor(
        name="block_size",
        description="scale of the block's length and width",
        default=1.0,
        apply=lambda value: table.set_block(scale=float(value[0])),
        allowed=(0.5, 1.5),
        mild=(0.9, 1.1),
        hard=(0.75, 1.3),
    )
    contact = Factor(
        name="block_friction",
        description="friction coefficient between block and pusher, and between block and walls",
        default=0.0,
        apply=lambda value: table.set_block(friction=float(value[0])),
        allowed=(0.0, 5.0),
        mild=(0.0, 0.2),
        hard=(0.2, 1.0),
    )
    return (
        *(_colour(table, name) for name in ("block", "pusher", "table")),
        _light(table),
        _discs(table),
        size,
        *([contact] if friction else []),
        _flag(
            "block_hidden", "whether the block is not drawn", lambda yes: change(hides_block=yes)
        ),
        _flag(
            "pusher_hidden", "whether the pusher is not drawn", lambda yes: change(hides_pusher=yes)
        ),
        _flag(
            "block_shape",
            "whether the block is drawn as an H",
            lambda yes: change(shape=_OTHER_SHAPE if yes else None),
        ),
        _double(table),
    )


def moving_objects(table: Table) -> tuple[MovingObject, ...]:
    """Return block and pusher as moving objects for events, placed by ``PushSimulation.place``."""

    def block_motion() -> NDArray[np.float64]:
        return np.array(table.simulation.block)

    def move_block(motion: NDArray[np.float64]) -> None:
        table.simulation.place([*table.simulation.placement[:4], *motion])

    def sample_block(rng: np.random.Generator) -> NDArray[np.float64]:
        world = table.simulation
        return block_places(rng, world.shape, world.block[2], pusher=world.pusher)

    def pusher_motion() -> NDArray[np.float64]:
        return table.simulation.placement[:4]

    def move_pusher(motion: NDArray[np.float64]) -> None:
        table.simulation.place([*motion, *table.simulation.block])

    def sample_pusher(rng: np.random.Generator) -> NDArray[np.float64]:
        x, y, angle = table.simulation.block
        return pusher_places(rng, table.simulation.shape, np.array([x, y]), angle)

    return (
        MovingObject(
            name="block",
            get_motion=block_motion,
            set_motion=move_block,
            sample=sample_block,
            extent=SIZE,
        ),
        MovingObject(
            name="pusher",
            get_motion=pusher_motion,
            set_motion=move_pusher,
            sample=sample_pusher,
            extent=SIZE,
        ),
    )


def _colour(table: Table, name: str) -> Factor:
    default = np.array(getattr(Look(), name))
    return Factor(
        name=f"{name}_colour",
        description=f"colour of the {name}: red, green, blue",
        default=default,
        apply=lambda value: table.change_look(**{name: tuple(value.tolist())}),
        allowed=(0.0, 1.0),
        mild=((default - 0.12).clip(0.0, 1.0), (default + 0.12).clip(0.0, 1.0)),
        hard=(0.05, 0.85),
        names=COLOURS,
    )


def _light(table: Table) -> Factor:
    return Factor(
        name="light",
        description="brightness of the whole frame, relative to the default",
        default=1.0,
        apply=lambda value: table.change_look(light=float(value[0])),
        allowed=(0.1, 2.0),
        mild=(0.7, 0.95),
        hard=(0.4, 0.9),
        names={"dim": 0.45},
    )


def _discs(table: Table) -> Factor:
    def apply(value: Value) -> None:
        rng = np.random.default_rng(int(value[1]))
        places, colours = (
            rng.uniform(PUSHER_RADIUS, SIZE - PUSHER_RADIUS, (NUM_DISTRACTORS, 2)),
            rng.random((NUM_DISTRACTORS, 3)),
        )
        drawn = zip(places[: int(value[0])].tolist(), colours.tolist(), strict=False)
        table.change_look(
            discs=tuple(Disc(place=(x, y), colour=(r, g, b)) for (x, y), (r, g, b) in drawn)
        )

    return make_distractor_factor(apply)


def _double(table: Table) -> Factor:
    def apply(value: Value) -> None:
        there, x, y = value.tolist()
        table.change_look(block_double=(x, y) if there == _YES else None)

    return Factor(
        name="block_double",
        description="whether a second block is drawn, and its position x, y",
        unit="1, px, px",
        default=(_NO, 0.0, 0.0),
        apply=apply,
        allowed=((_NO, 0.0, 0.0), (_YES, SIZE, SIZE)),
    )


def _flag(name: str, description: str, change: Callable[[bool], object]) -> Factor:
    return Factor(
        name=name,
        description=f"{description}, for events",
        default=_NO,
        apply=lambda value: change(bool(value[0] == _YES)),
        allowed=(_NO, _YES),
        names={"no": _NO, "yes": _YES},
        whole=True,
    )
