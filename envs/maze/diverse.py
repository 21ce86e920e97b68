"""Random mazes: rooms on a grid, connected by random passages with few loops.

Every split has mazes of its own, which a hash of the maze decides; training has a finite number of
them. The setting is that of the diverse mazes of PLDM (Sobal et al., 2025), with another generator
and other numbers.
"""

from __future__ import annotations

import functools
import hashlib
import itertools

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.maze.layouts import Layout
from jepabench.envs.task import SPLITS

NUM_TRAINING_MAZES = 40
SIDE = 4  # rooms along each side; with the walls between them 7 x 7 cells
MAX_WAYS_ROUND = 3  # passages beyond those that connect the rooms
STRATA = {"near": (0.6, 2.0), "medium": (2.0, 5.0), "far": (5.0, 12.0)}
_SHARES = (7, 1, 1, 1)  # of all mazes, in the order of SPLITS

_ROOMS = list(itertools.product(range(SIDE), range(SIDE)))
# Passages to the right first, then those downwards, row by row from the top left: room, room, and
# the cell between them.
_PASSAGES = [((y, x), (y, x + 1), (2 * y + 1, 2 * x + 2)) for y, x in _ROOMS if x + 1 < SIDE] + [
    ((y, x), (y + 1, x), (2 * y + 2, 2 * x + 1)) for y, x in _ROOMS if y + 1 < SIDE
]
NUM_PASSAGES = len(_PASSAGES)


def draw_passages(rng: np.random.Generator, *, split: str) -> NDArray[np.float64]:
    """Return one of the mazes of ``split``: which passages are open, 1 or 0 [NUM_PASSAGES]."""
    if split == "train":
        return training_mazes()[int(rng.integers(NUM_TRAINING_MAZES))]
    return _generate(rng, split)


@functools.cache
def training_mazes() -> list[NDArray[np.float64]]:
    """Return the passages of all training mazes."""
    return [
        _generate(np.random.default_rng(number), "train") for number in range(NUM_TRAINING_MAZES)
    ]


def find_split(passages: NDArray[np.float64]) -> str:
    """Return the split that a maze belongs to."""
    digest = hashlib.sha256(b"PointMaze-Diverse|" + passages.astype(np.uint8).tobytes()).digest()
    place = int.from_bytes(digest[:4], "big") % sum(_SHARES)
    return SPLITS[int(np.searchsorted(np.cumsum(_SHARES), place, side="right"))]


def maze(passages: NDArray[np.float64]) -> Layout:
    """Return the maze with these passages."""
    cells = np.full((2 * SIDE + 1, 2 * SIDE + 1), "#")
    cells[1::2, 1::2] = "."
    for (_, _, cell), is_open in zip(_PASSAGES, passages, strict=True):
        if is_open:
            cells[cell] = "."
    return Layout(
        rows=tuple("".join(row) for row in cells), strata=STRATA, zones=(), drawn_radius=0.25
    )


def _generate(rng: np.random.Generator, split: str) -> NDArray[np.float64]:
    """Return a random maze of ``split``: a random spanning tree (Kruskal) and more passages."""
    while True:
        part = {room: number for number, room in enumerate(_ROOMS)}
        passages = np.zeros(NUM_PASSAGES)
        ways_round = int(rng.integers(MAX_WAYS_ROUND + 1))
        for number in rng.permutation(NUM_PASSAGES).tolist():
            room, other, _ = _PASSAGES[number]
            joined, absorbed = part[room], part[other]
            if joined != absorbed:
                part = {key: joined if value == absorbed else value for key, value in part.items()}
            elif ways_round:
                ways_round -= 1
            else:
                continue
            passages[number] = 1.0
        if find_split(passages) == split:
            return passages
