"""Rope: a peg pushes a rope into a shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.particles.clouds import as_points, paired_distance
from jepabench.envs.particles.particle_env import ParticleEnv
from jepabench.envs.particles.shapes import (
    CURVES,
    CURVES_OF_SPLIT,
    SHAPES,
    place,
    rotate,
    trace,
)
from jepabench.envs.particles.table import REACH, Particles
from jepabench.envs.variations.moving_objects import MovingObject

NUM_BEADS = 21
SUCCESS_DISTANCE = 0.012
STRATA = {"near": (0.025, 0.06), "medium": (0.06, 0.1), "far": (0.1, 0.25)}
SPACING = 0.03
BEADS = Particles(
    name="rope",
    num=NUM_BEADS,
    radius=0.0145,
    colour=(0.16, 0.32, 0.62),
    braking_time=0.02,
    spacing=SPACING,
)
_LIMIT = REACH - 0.02
_REFERENCE_STEPS = 7  # the expert's median, in all strata
_NUM_WAVES = 3
_LEAST_GAP = 2.5 * BEADS.radius


class Rope(ParticleEnv):
    """A peg pushes a rope on a table into a target shape.

    ## Description

    The setting follows DINO-WM's rope task, with MuJoCo instead of Nvidia FleX. The rope is a row
    of 21 beads (radius 0.0145 m), each held 0.03 m from the next. It bends freely, cannot pass
    through itself, and slides on the table with viscous friction. It stops within a centimetre when
    nothing pushes it. A rim keeps the beads within 0.355 m of the centre along both axes.

    ## Action space

    | index | action | low | high | unit |
    |---|---|---|---|---|
    | 0, 1 | x and y of the peg at the start of the push | -1 | 1 | 0.3 m |
    | 2, 3 | x and y of the peg at its end | -1 | 1 | 0.3 m |

    A control step is one complete push. The peg (radius 0.02 m) is lowered at the start, moves to
    the end at 0.5 m/s and is lifted. It displaces beads below it. A push shorter than 0.02 m is
    skipped. A control step counts as 2 s.

    ## Observation space

    | index | ``observation`` | name in the simulation | unit |
    |---|---|---|---|
    | 2 i, 2 i + 1 | position of bead i along the rope | joints ``particle_<i>_x``, ``..._y`` | m |

    ``achieved_goal`` [42] holds the positions of the beads, ``desired_goal`` [42] those in the
    target shape. Their order does not matter. Frames show the table from above with +y up, without
    the peg.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the Chamfer distance [m].

    ## Starting state

    The rope lies in smooth random bends at a random position. The target is a shape at a random
    position, randomly rotated and mirrored. The Chamfer distance between them is that of the
    stratum. Shapes are line, arc, wave and L in ``train``; sickle, W and step in ``validation``;
    U, Z and hook in ``test``; and V, S and stairs in ``private``.

    ## Success

    The Chamfer distance to the goal is at most 0.012 m. It is the mean distance from each bead to
    the nearest target position, averaged with the mean distance in the other direction.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    The world takes the arguments of ``GoalEnv``.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    particles = BEADS
    pusher = "peg"
    particle_name = "bead"
    success_distance = SUCCESS_DISTANCE
    strata = STRATA
    shapes = SHAPES

    def path_distance(self, achieved_goal: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean distance of the beads from their goals [m], [..., 2 * N] to [...].

        Of the two ways to lay the rope the better one counts. Unlike the Chamfer distance it leads
        out of folds.
        """
        return paired_distance(as_points(achieved_goal), as_points(self._desired_goal))

    def _moving_objects(self) -> tuple[MovingObject, ...]:
        return (self.table.as_moving_object(extent=2.0 * REACH),)

    def _draw_goal(self, rng: np.random.Generator, split: str) -> tuple[str, NDArray[np.float64]]:
        return draw_goal(rng, split)

    def _draw_start(self, rng: np.random.Generator) -> NDArray[np.float64]:
        return draw_start(rng)

    def _reference_steps(self, distance: float) -> int:
        del distance
        return _REFERENCE_STEPS


def draw_goal(rng: np.random.Generator, split: str) -> tuple[str, NDArray[np.float64]]:
    """Return the name of a shape and random positions [N, 2] of the beads in it."""
    names = CURVES_OF_SPLIT[split]
    mirror = rng.choice([-1.0, 1.0])
    while True:
        name = names[rng.integers(len(names))]
        goal = _lay(mirror * CURVES[name](_shares()), rng)
        if goal is not None:
            return name, goal


def draw_start(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return positions [N, 2] of beads in smooth bends that do not touch each other."""
    waves = np.cos(np.pi * np.arange(1, _NUM_WAVES + 1) * _shares()[:, None])
    while True:
        start = _lay((waves * rng.normal(0.0, 1.0, _NUM_WAVES)).sum(axis=1), rng)
        if start is not None and _least_gap(start) > _LEAST_GAP:
            return start


def _lay(headings: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64] | None:
    return place(rotate(trace(headings, spacing=SPACING), rng), rng, limit=_LIMIT)


def _shares() -> NDArray[np.float64]:
    return (np.arange(NUM_BEADS - 1) + 0.5) / (NUM_BEADS - 1)


def _least_gap(points: NDArray[np.float64]) -> float:
    """Return the smallest distance between beads that are not neighbours [m]."""
    first, second = np.triu_indices(len(points), 2)
    offsets = points[first] - points[second]
    return float(np.sqrt((offsets * offsets).sum(axis=-1)).min())
