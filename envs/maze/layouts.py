"""The layouts of PointMaze, as in D4RL and Gymnasium-Robotics.

Cells are 1 m wide, the maze is centred on the origin, and +y is up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Zone = tuple[float, float, float, float]
_Cells = tuple[int, int, int, int]  # left, top, right, bottom, in cells from the top left


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A maze.

    Attributes:
        rows: The map from the top, ``#`` for a wall.
        strata: Shortest (excluded) and longest (included) way from start to goal [m], by name.
        zones: Default keep-out rectangles ``(x_min, y_min, x_max, y_max)`` [m]; each is on a short
            cut and leaves a way round.
        drawn_radius: Drawn radius of the ball as it is seen [m].
    """

    rows: tuple[str, ...]
    strata: Mapping[str, tuple[float, float]]
    zones: tuple[Zone, ...]
    drawn_radius: float = 0.2

    @property
    def half_size(self) -> NDArray[np.float64]:
        """Half of the width and height [2] [m]."""
        return np.array([len(self.rows[0]), len(self.rows)]) / 2.0

    def wall_boxes(self) -> NDArray[np.float64]:
        """Return ``[x_min, y_min, x_max, y_max]`` of each wall cell, from the top [N, 4]."""
        rows = enumerate(self.rows)
        return self._in_metres(
            (x, y, x + 1, y + 1) for y, row in rows for x, cell in enumerate(row) if cell == "#"
        )

    def merged_boxes(self) -> NDArray[np.float64]:
        """Return the walls as few disjoint boxes: border, rows and columns [N, 4]."""
        width, height = len(self.rows[0]), len(self.rows)
        border = [
            (0, 0, width, 1),
            (0, height - 1, width, height),
            (0, 1, 1, height - 1),
            (width - 1, 1, width, height - 1),
        ]
        inner = [row[1:-1] for row in self.rows[1:-1]]
        across = [
            (left, y, right, y + 1)
            for y, row in enumerate(inner, 1)
            for left, right in _runs(row, shortest=2)
        ]
        left_over = [re.sub("##+", lambda run: "." * len(run[0]), row) for row in inner]
        columns = ["".join(column) for column in zip(*left_over, strict=True)]
        down = [
            (x, top, x + 1, bottom)
            for x, column in enumerate(columns, 1)
            for top, bottom in _runs(column)
        ]
        return self._in_metres(border + across + down)

    def obstacle_boxes(self) -> NDArray[np.float64]:
        """Return the same walls without the border as few, overlapping boxes [N, 4]."""
        inner = [row[1:-1] for row in self.rows[1:-1]]
        columns = ["".join(column) for column in zip(*inner, strict=True)]
        across = {
            (left, y, right, y + 1) for y, row in enumerate(inner, 1) for left, right in _runs(row)
        }
        down = {
            (x, top, x + 1, bottom)
            for x, column in enumerate(columns, 1)
            for top, bottom in _runs(column)
        }
        runs = across | down
        return self._in_metres(
            sorted(run for run in runs if not any(_covers(other, run) for other in runs - {run}))
        )

    def _in_metres(self, boxes: Iterable[_Cells]) -> NDArray[np.float64]:
        x, y = self.half_size
        return np.array(
            [(left - x, y - bottom, right - x, y - top) for left, top, right, bottom in boxes]
        )


LAYOUTS = {
    "umaze": Layout(
        rows=(
            "#####",
            "#...#",
            "###.#",
            "#...#",
            "#####",
        ),
        strata={"near": (0.6, 1.5), "medium": (1.5, 3.0), "far": (3.0, 7.0)},
        zones=((0.5, -0.4, 0.9, 0.4),),
    ),
    "medium": Layout(
        rows=(
            "########",
            "#..##..#",
            "#..#...#",
            "##...###",
            "#..#...#",
            "#.#..#.#",
            "#...#..#",
            "########",
        ),
        strata={"near": (0.6, 2.0), "medium": (2.0, 5.0), "far": (5.0, 12.0)},
        zones=((-1.0, 0.6, -0.2, 1.0), (2.6, -1.9, 3.0, -1.1), (-3.0, -1.9, -2.6, -1.1)),
    ),
    "large": Layout(
        rows=(
            "############",
            "#....#.....#",
            "#.##.#.#.#.#",
            "#......#...#",
            "#.####.###.#",
            "#..#.#.....#",
            "##.#.#.#.###",
            "#..#...#...#",
            "############",
        ),
        strata={
            "near": (0.6, 3.0),
            "medium": (3.0, 7.0),
            "far": (7.0, 12.0),
            "beyond": (12.0, 20.0),
        },
        zones=((-1.8, 1.0, -1.0, 1.4), (0.0, -0.4, 0.4, 0.4), (4.6, 1.1, 5.0, 1.9)),
        drawn_radius=0.35,
    ),
}


def _runs(cells: str, *, shortest: int = 1) -> list[tuple[int, int]]:
    """Return first and last + 1 of each run of wall cells with a minimum length.

    Indices start at 1; the border has index 0.
    """
    return [(run.start() + 1, run.end() + 1) for run in re.finditer("#" * shortest + "+", cells)]


def _covers(outer: _Cells, inner: _Cells) -> bool:
    return (
        outer[0] <= inner[0]
        and outer[1] <= inner[1]
        and outer[2] >= inner[2]
        and outer[3] >= inner[3]
    )
