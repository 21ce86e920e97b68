"""The blocks: unions of rectangles, all measured in pixels of the published 512 px workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A block of mass 1 in its own frame, whose origin is the position of the block.

    Attributes:
        name: Name of the shape.
        boxes: Rectangles ``(x_min, y_min, x_max, y_max)`` that touch or overlap [px].
        centre: Centre of gravity [px].
        moment: Moment of inertia about the centre of gravity [px^2].
        mark: A rectangle that is drawn darker, where a part turn could not be seen otherwise.
    """

    name: str
    boxes: tuple[Box, ...]
    centre: tuple[float, float]
    moment: float
    mark: Box | None = None

    @property
    def corners(self) -> NDArray[np.float64]:
        """The corners of the boxes, each box in turn, [boxes, 4, 2] [px]."""
        return corners(self.boxes)

    def outline(self, num_directions: int) -> NDArray[np.float64]:
        """Return the extent [px] from the origin in directions 0, 2 pi / n, ..., [n]."""
        angles = np.arange(num_directions) * (2.0 * np.pi / num_directions)
        rays = np.stack([np.cos(angles), np.sin(angles)], axis=-1)[:, None]
        boxes = np.array(self.boxes)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = boxes[:, :2] / rays, boxes[:, 2:] / rays
        enter, leave = np.fmin(low, high).max(axis=-1), np.fmax(low, high).min(axis=-1)
        return np.where((enter < leave) & (leave > 0.0), leave, 0.0).max(axis=-1)

    def scaled(self, scale: float) -> Shape:
        """Return the shape scaled in length and width, with the same mass."""
        if scale == 1.0:
            return self

        def larger(box: Box) -> Box:
            left, top, right, bottom = box
            return left * scale, top * scale, right * scale, bottom * scale

        x, y = self.centre
        return Shape(
            name=self.name,
            boxes=tuple(larger(box) for box in self.boxes),
            centre=(x * scale, y * scale),
            moment=self.moment * scale * scale,
            mark=larger(self.mark) if self.mark else None,
        )

    def contains(self, points: NDArray[np.float64], *, margin: float = 0.0) -> NDArray[np.bool_]:
        """Return which points [..., 2] are inside the shape or within ``margin`` [px] of it."""
        boxes = np.array(self.boxes)
        points = points[..., None, :]
        outside = np.maximum(np.maximum(boxes[:, :2] - points, points - boxes[:, 2:]), 0.0)
        return np.asarray(((outside * outside).sum(axis=-1) <= margin * margin).any(axis=-1))


def corners(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Return the corners of boxes, going round each, [boxes, 4, 2]."""
    return np.array(boxes, np.float64).reshape(-1, 4)[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]


def turned(points: NDArray[np.float64], angle: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points [..., 2] rotated by angles [...] [rad], from the x axis towards the y axis."""
    sine, cosine = np.sin(angle), np.cos(angle)
    x, y = points[..., 0], points[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def plate(name: str, *boxes: Box, mark: Box | None = None) -> Shape:
    """Return a uniform plate of disjoint boxes with its centre of gravity as the origin."""
    table = np.array(boxes, np.float64)
    size = table[:, 2:] - table[:, :2]
    share = size.prod(axis=1) / size.prod(axis=1).sum()
    middle = (table[:, :2] + table[:, 2:]) / 2.0
    origin = share @ middle
    inertia = (size * size).sum(axis=1) / 12.0 + ((middle - origin) ** 2).sum(axis=1)
    moved = [_moved(box, origin) for box in boxes]
    return Shape(
        name=name,
        boxes=tuple(moved),
        centre=(0.0, 0.0),
        moment=float(share @ inertia),
        mark=_moved(mark, origin) if mark else None,
    )


def _moved(box: Box, origin: NDArray[np.float64]) -> Box:
    left, top, right, bottom = (np.array(box) - np.tile(origin, 2)).tolist()
    return left, top, right, bottom


# Published Push-T: the origin is the middle of the top of the bar. Its centre of gravity is the
# plain mean of those of bar and stem, and both count with the bar's moment about the origin.
T = Shape(
    name="T",
    boxes=((-60.0, 0.0, 60.0, 30.0), (-15.0, 30.0, 15.0, 120.0)),
    centre=(0.0, 45.0),
    moment=3000.0,
)

TRAIN_SHAPES = (
    T,
    plate("L", (0, 0, 30, 120), (30, 90, 90, 120)),
    plate("Z", (0, 0, 80, 40), (40, 40, 120, 80), mark=(0, 0, 40, 40)),
    plate("plus", (40, 0, 70, 110), (0, 40, 40, 70), (70, 40, 110, 70), mark=(40, 0, 70, 40)),
    plate("I", (0, 0, 30, 140), mark=(0, 0, 30, 40)),
    plate("U", (0, 0, 30, 90), (30, 60, 80, 90), (80, 0, 110, 90)),
)
TEST_SHAPES = (
    plate("square", (0, 0, 80, 80), mark=(0, 0, 80, 25)),
    plate("small T", (0, 0, 80, 20), (30, 20, 50, 80)),
    plate("J", (60, 0, 90, 120), (0, 90, 60, 120)),
    plate("Y", (0, 0, 30, 140), (30, 35, 80, 65)),
)
PRIVATE_SHAPES = (
    plate("F", (0, 0, 30, 130), (30, 0, 85, 30), (30, 50, 70, 80)),
    plate("stairs", (0, 0, 50, 35), (25, 35, 75, 70), (50, 70, 100, 105), mark=(0, 0, 50, 35)),
    plate("brick", (0, 0, 60, 105), mark=(0, 0, 60, 35)),
    plate("hook", (0, 0, 110, 30), (80, 30, 110, 90), (50, 60, 80, 90)),
)
VALIDATION_SHAPES = (
    plate("H", (0, 0, 25, 90), (25, 32, 75, 57), (75, 0, 100, 90), mark=(0, 0, 25, 90)),
    plate("plank", (0, 0, 45, 120), mark=(0, 0, 45, 35)),
    plate("P", (0, 0, 30, 120), (30, 0, 80, 55)),
    plate("off-centre T", (0, 0, 110, 30), (15, 30, 45, 100)),
)
# The number of a shape is its index here. Episodes record it, so new shapes go to the end.
SHAPES = TRAIN_SHAPES + TEST_SHAPES + PRIVATE_SHAPES + VALIDATION_SHAPES
SHAPES_OF_SPLIT = {
    "train": TRAIN_SHAPES,
    "validation": VALIDATION_SHAPES,
    "test": TEST_SHAPES,
    "private": PRIVATE_SHAPES,
}
