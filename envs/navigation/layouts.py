"""Floor plans: a square of three or four rooms with doors and obstacles, generated from a seed.

The seed is a hash of the split and a number, so a floor plan of one split never occurs in another.
Training has a finite number of them: a model is to learn what rooms look like, and is tested in
rooms that it has not seen.
"""

from __future__ import annotations

import colorsys
import hashlib
import itertools

import numpy as np
from numpy.typing import NDArray

World = dict[str, NDArray[np.float64]]

NUM_TRAINING_LAYOUTS = 100
HALF_SIZE = 3.0  # of the square, between the outer walls [m]
WALL_HEIGHT = 2.0
DOOR_WIDTH = 0.9
_HALF_WALL = 0.08
_OUTER_WALL = 0.2
_GAP = 0.6  # between an obstacle and whatever is next to it [m]
_MAX_OBSTACLES = 2  # in a room
_ROUND_SHARE = 0.4
_OBSTACLE_HALF_SIZES = (0.15, 0.4)
_OBSTACLE_HEIGHTS = (0.4, 1.4)
_ATTEMPTS = 20  # to find a place for an obstacle
_GOLDEN = (5.0**0.5 - 1.0) / 2.0

Box = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max


def draw_layout(rng: np.random.Generator, *, split: str) -> World:
    """Return one of the floor plans of ``split``, see ``generate``."""
    return layout(split, int(rng.integers(NUM_TRAINING_LAYOUTS if split == "train" else 2**32)))


def layout(split: str, number: int) -> World:
    """Return floor plan ``number`` of ``split``.

    Training has the numbers 0 to ``NUM_TRAINING_LAYOUTS - 1``; the other splits have any number.
    """
    digest = hashlib.sha256(f"Navigation|{split}|{number}".encode()).digest()
    return generate(np.random.default_rng(list(digest)))


def generate(rng: np.random.Generator) -> World:
    """Return a floor plan of N boxes, walls first.

    ``boxes`` [N, 4] are ``[x_min, y_min, x_max, y_max]`` [m], ``heights`` [N] start at the floor
    [m], where ``round`` [N] is 1 the box is a cylinder of the same width, and ``colours`` [N, 3]
    are red, green and blue from 0 to 1.
    """
    rooms, walls = _divide(rng)
    obstacles: list[Box] = []
    is_round = [False] * len(walls)
    for room in rooms:
        for _ in range(int(rng.integers(1, _MAX_OBSTACLES + 1))):
            round_one = bool(rng.random() < _ROUND_SHARE)
            box = _place(rng, room, obstacles, square=round_one)
            if box is not None:
                obstacles.append(box)
                is_round.append(round_one)
    turn = [1, 0, 3, 2] if rng.random() < 0.5 else [0, 1, 2, 3]
    return {
        "boxes": np.array(walls + obstacles)[:, turn],
        "heights": np.append(
            np.full(len(walls), WALL_HEIGHT), rng.uniform(*_OBSTACLE_HEIGHTS, len(obstacles))
        ),
        "round": np.array(is_round, np.float64),
        "colours": _colours(rng, len(walls), len(obstacles)),
    }


def _divide(rng: np.random.Generator) -> tuple[list[Box], list[Box]]:
    """Return rooms and walls of a square that one wall halves.

    Shorter walls divide one half or both.
    """
    end, wall = HALF_SIZE, _HALF_WALL
    middle = rng.uniform(-0.8, 0.8)
    crossings = [rng.uniform(-0.8, 0.8) for _ in range(2)]
    undivided = int(rng.integers(4))  # 0 or 1: that side is one room
    rooms, walls, ends = [], [], []
    for side, (low, high) in enumerate(((-end, middle - wall), (middle + wall, end))):
        across = [] if side == undivided else [crossings[side]]
        edges = [-end, *across, end]
        ends += across
        rooms += [
            (low, bottom + wall, high, top - wall) for bottom, top in itertools.pairwise(edges)
        ]
        for place in across:
            door = rng.uniform(low + 0.7, high - 0.7)
            walls += [
                (left, place - wall, right, place + wall)
                for left, right in _around([door], low, high)
            ]
        outer = (-end - _OUTER_WALL, -end) if side == 0 else (end, end + _OUTER_WALL)
        walls += [(outer[0], bottom, outer[1], top) for bottom, top in itertools.pairwise(edges)]
        walls += [(low, y, high, y + _OUTER_WALL) for y in (-end - _OUTER_WALL, end)]
    doors = _doors(rng, ends)
    return rooms, walls + [
        (middle - wall, low, middle + wall, high) for low, high in _around(doors, -end, end)
    ]


def _doors(rng: np.random.Generator, ends: list[float]) -> list[float]:
    """Return the positions of one or two doors in the long wall.

    They keep apart from each other and from the walls that end there.
    """
    doors: list[float] = []
    wanted = int(rng.integers(1, 3))
    while len(doors) < wanted:
        door = rng.uniform(0.7 - HALF_SIZE, HALF_SIZE - 0.7)
        if all(abs(door - other) > 0.8 for other in ends) and all(
            abs(door - other) > 1.6 for other in doors
        ):
            doors.append(door)
    return sorted(doors)


def _around(doors: list[float], low: float, high: float) -> list[tuple[float, float]]:
    """Return what doors leave of a wall from ``low`` to ``high``."""
    starts = [low, *(door + DOOR_WIDTH / 2 for door in doors)]
    stops = [*(door - DOOR_WIDTH / 2 for door in doors), high]
    return list(zip(starts, stops, strict=True))


def _place(rng: np.random.Generator, room: Box, others: list[Box], *, square: bool) -> Box | None:
    """Return an obstacle that does not block any path, or None if none fits."""
    for _ in range(_ATTEMPTS):
        half = rng.uniform(*_OBSTACLE_HALF_SIZES, 2)
        half[1] = half[0] if square else half[1]
        margin = half + _GAP
        centre = rng.uniform(np.array(room[:2]) + margin, np.array(room[2:]) - margin)
        box = (*(centre - half).tolist(), *(centre + half).tolist())
        if not any(_near(box, other) for other in others):
            return box
    return None


def _near(box: Box, other: Box) -> bool:
    apart_x = box[0] > other[2] + _GAP or other[0] > box[2] + _GAP
    apart_y = box[1] > other[3] + _GAP or other[1] > box[3] + _GAP
    return not (apart_x or apart_y)


def _colours(rng: np.random.Generator, num_walls: int, num_obstacles: int) -> NDArray[np.float64]:
    """Return evenly spaced hues in random order, [N, 3].

    Walls are pale, obstacles are saturated.
    """
    first = rng.random()
    walls = [((first + _GOLDEN * k) % 1.0, 0.55, 0.95) for k in rng.permutation(num_walls)]
    obstacles = [((first + _GOLDEN * k) % 1.0, 0.95, 0.8) for k in rng.permutation(num_obstacles)]
    return np.array([colorsys.hsv_to_rgb(*colour) for colour in walls + obstacles])
