"""Granular: a blade sweeps a heap of chips into a shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.particles.particle_env import ParticleEnv
from jepabench.envs.particles.shapes import (
    AREAS_OF_SPLIT,
    SHAPES,
    fill,
    hexagonal_lattice,
    place,
    rotate,
)
from jepabench.envs.particles.table import REACH, Particles
from jepabench.envs.variations.moving_objects import MovingObject

NUM_CHIPS = 64
SUCCESS_DISTANCE = 0.0135
STRATA = {"near": (0.025, 0.045), "medium": (0.045, 0.07), "far": (0.07, 0.16)}
CHIPS = Particles(
    name="chips", num=NUM_CHIPS, radius=0.0135, colour=(0.82, 0.3, 0.12), braking_time=0.01
)
_GOAL_SPACING = 1.08 * 2.0 * CHIPS.radius  # chips that are pushed together lie about as close
_START_SPACING = 2.5 * CHIPS.radius
_START_ROWS = 20  # of a lattice that covers the table, to either side of the middle
_MOST_HEAPS = 3


class Granular(ParticleEnv):
    """A blade sweeps chips on a table into a target shape.

    ## Description

    The setting follows DINO-WM's granular task, with MuJoCo instead of Nvidia FleX. 64 round chips
    (radius 0.0135 m) slide on a table with viscous friction and push each other. They stop within a
    centimetre when nothing pushes them. A rim keeps them within 0.355 m of the centre along both
    axes.

    ## Action space

    | index | action | low | high | unit |
    |---|---|---|---|---|
    | 0, 1 | x and y of the blade at the start of the push | -1 | 1 | 0.3 m |
    | 2, 3 | x and y of the blade at its end | -1 | 1 | 0.3 m |

    A control step is one complete push. The blade (0.18 m wide, perpendicular to the push) is
    lowered at the start, moves to the end at 0.5 m/s and is lifted. It displaces chips below it. A
    push shorter than 0.02 m is skipped. A control step counts as 2 s.

    ## Observation space

    | index | ``observation`` | name in the simulation | unit |
    |---|---|---|---|
    | 2 i, 2 i + 1 | position of chip i | joints ``particle_<i>_x``, ``..._y`` | m |

    ``achieved_goal`` [128] holds the positions of the chips, ``desired_goal`` [128] those in the
    target shape. Their order does not matter. Frames show the table from above with +y up, without
    the blade.

    ## Rewards

    With ``reward="sparse"``, the reward is 0 if the goal is reached and -1 otherwise. With
    ``reward="dense"``, it is minus the Chamfer distance [m].

    ## Starting state

    The chips lie scattered in one to three heaps. The target is a filled shape at a random position
    with a random rotation. The Chamfer distance between them is that of the stratum. Shapes are
    square, bar, L and cross in ``train``; slab, tall cross and J in ``validation``; disc, T and
    line in ``test``; and rectangle, wide T and dagger in ``private``.

    ## Success

    The Chamfer distance to the goal is at most 0.0135 m. It is the mean distance from each chip to
    the nearest target position, averaged with the mean distance in the other direction. Two dense
    packings of the same area are about 0.011 m apart.

    ## Episode end

    The episode never terminates. It is truncated when its budget is used up.

    ## Arguments

    The world takes the arguments of ``GoalEnv``.

    ## Versions

    * v1: first version. MuJoCo 3.17.0.
    """

    particles = CHIPS
    pusher = "blade"
    particle_name = "chip"
    success_distance = SUCCESS_DISTANCE
    strata = STRATA
    shapes = SHAPES

    def _moving_objects(self) -> tuple[MovingObject, ...]:
        return (
            self.table.as_moving_object(extent=REACH),
        )  # the heaps leave no more room than that

    def _draw_goal(self, rng: np.random.Generator, split: str) -> tuple[str, NDArray[np.float64]]:
        return draw_goal(rng, split)

    def _draw_start(self, rng: np.random.Generator) -> NDArray[np.float64]:
        return scatter(rng)

    def _reference_steps(self, distance: float) -> int:
        return min(round(5.0 + 30.0 * distance), self.task.max_steps // 2)


def draw_goal(rng: np.random.Generator, split: str) -> tuple[str, NDArray[np.float64]]:
    """Return the name of a shape and random positions [N, 2] of chips that fill it."""
    names = AREAS_OF_SPLIT[split]
    while True:
        name = names[rng.integers(len(names))]
        goal = place(
            fill(name, NUM_CHIPS, spacing=_GOAL_SPACING, rng=rng), rng, limit=REACH - CHIPS.radius
        )
        if goal is not None:
            return name, goal


def scatter(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return places [N, 2] of chips that lie in heaps and do not overlap."""
    lattice = rotate(
        hexagonal_lattice(_START_ROWS, _START_SPACING) + rng.uniform(0.0, _START_SPACING, 2), rng
    )
    lattice = lattice[(np.abs(lattice) < REACH - CHIPS.radius).all(axis=1)]
    num_heaps = int(rng.integers(1, _MOST_HEAPS + 1))
    middles, widths = rng.uniform(-0.2, 0.2, (num_heaps, 2)), rng.uniform(0.05, 0.12, num_heaps)
    offsets = (lattice[:, None] - middles) / widths[:, None]
    density = np.exp(-0.5 * (offsets * offsets).sum(axis=-1)).sum(axis=1)
    # The places with the largest log density plus Gumbel noise are a sample without replacement.
    chosen = np.argsort(-(np.log(density + 1e-12) + rng.gumbel(size=len(lattice))), kind="stable")[
        :NUM_CHIPS
    ]
    slack = (_START_SPACING - 2.0 * CHIPS.radius) / 2.0
    angles, lengths = rng.uniform(-np.pi, np.pi, NUM_CHIPS), slack * np.sqrt(rng.random(NUM_CHIPS))
    return lattice[chosen] + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
