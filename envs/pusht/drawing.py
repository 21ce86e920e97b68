"""Frames of Push-T, drawn at high resolution around the objects and averaged down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.pusht.shapes import Box, Shape, corners
from jepabench.envs.pusht.simulation import PUSHER_RADIUS, SIZE, WALL_RADIUS, WALLS

Colour = tuple[float, float, float]
Point = tuple[float, float]
_FINE_SIZE = 448  # about the side of the fine frame, which is drawn in tiles [subpixels]
_LEAST_SUBPIXELS = 4
_SHIFT = 6  # binary places of the coordinates that OpenCV takes
_ONE = 1 << _SHIFT
_NUM_CORNERS = 4
# OpenCV fills every subpixel that an edge touches; shapes are drawn smaller by about what that
# adds.
_INSET = 0.45  # [subpixels]
_MARK_SHADE = 0.54  # of the block's colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Disc:
    """A disc that lies on the table and touches nothing: its middle [px] and colour."""

    place: Point
    colour: Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How things look. Colours are red, green, blue, 0 to 1; by default those of gym-pusht.

    Attributes:
        table: Colour.
        wall: Colour.
        block: Colour.
        pusher: Colour.
        light: Brightness, as a multiple.
        shape: What the block looks like, if not like itself.
        hides_block: Whether the block is left out.
        hides_pusher: Whether the pusher is left out.
        block_double: Place of a second block that is only drawn [px].
        discs: What lies about.
    """

    table: Colour = (1.0, 1.0, 1.0)
    wall: Colour = (211 / 255, 211 / 255, 211 / 255)
    block: Colour = (119 / 255, 136 / 255, 153 / 255)
    pusher: Colour = (65 / 255, 105 / 255, 225 / 255)
    light: float = 1.0
    shape: Shape | None = None
    hides_block: bool = False
    hides_pusher: bool = False
    block_double: Point | None = None
    discs: tuple[Disc, ...] = ()


class Drawing:
    """Draws a block and a pusher from above at one frame size.

    Frames do not depend on earlier frames.

    Args:
        shape: Shape of the block.
        size: Side of the frames [pixels].
        look: Colours, and what is drawn.
    """

    def __init__(self, shape: Shape, size: int, look: Look) -> None:
        self._look, self._size = look, size
        self._subpixels = max(_LEAST_SUBPIXELS, round(_FINE_SIZE / size))
        self._scale = size * self._subpixels / SIZE  # subpixels in a workspace pixel
        shape = look.shape or shape
        self._corners = self._inset((*shape.boxes, *([shape.mark] if shape.mark else [])))
        self._across = self._corners[:, ::-1] * [-1.0, 1.0]  # the same, a quarter turn on
        mark = self._bytes(look.block, shade=_MARK_SHADE)
        self._colours = [self._bytes(look.block)] * len(shape.boxes) + [mark] * bool(shape.mark)
        self._pusher_colour = self._bytes(look.pusher)
        self._radius = round((PUSHER_RADIUS * self._scale - _INSET) * _ONE)
        self._empty_fine = self._empty()
        self._empty_frame = self._averaged(self._empty_fine)

    def frame(self, pusher: Point, block: tuple[float, float, float]) -> NDArray[np.uint8]:
        """Return the frame of a pusher at [2] [px] and a block at [3] [px, px, rad]."""
        points = self._outlines(*block)
        x, y, reach = pusher[0] * self._scale, pusher[1] * self._scale, PUSHER_RADIUS * self._scale
        frame, polygons, middle = self._empty_frame.copy(), _fixed(points), _fixed_point(x, y)
        if not self._look.hides_block:
            self._draw_tile(
                frame,
                (*points.min(axis=0).tolist(), *points.max(axis=0).tolist()),
                polygons,
                middle,
            )
        if not self._look.hides_pusher:
            self._draw_tile(frame, (x - reach, y - reach, x + reach, y + reach), polygons, middle)
        return frame

    def _draw_tile(
        self, frame: NDArray[np.uint8], area: Box, polygons: NDArray[np.int32], middle: _Place
    ) -> None:
        """Draw everything in an area [subpixels] into the pixels of the frame that it covers."""
        step, last = self._subpixels, self._size - 1
        left, top, right, bottom = [min(max(int(value // step), 0), last) for value in area]
        right, bottom = right + 1, bottom + 1
        fine = self._empty_fine[top * step : bottom * step, left * step : right * step].copy()
        offset_x, offset_y = left * step * _ONE, top * step * _ONE
        if not self._look.hides_block:
            self._fill(fine, polygons - np.array([offset_x, offset_y], np.int32))
        if not self._look.hides_pusher:
            self._fill_disc(fine, (middle[0] - offset_x, middle[1] - offset_y), self._pusher_colour)
        frame[top:bottom, left:right] = self._averaged(fine)

    def _fill(self, fine: NDArray[np.uint8], polygons: NDArray[np.int32]) -> None:
        for polygon, colour in zip(polygons, self._colours, strict=True):
            cv2.fillConvexPoly(fine, polygon, colour, cv2.LINE_8, _SHIFT)

    def _fill_disc(self, fine: NDArray[np.uint8], middle: _Place, colour: _Bytes) -> None:
        cv2.circle(fine, middle, self._radius, colour, cv2.FILLED, cv2.LINE_8, _SHIFT)

    def _outlines(self, x: float, y: float, angle: float) -> NDArray[np.float64]:
        """Return the corners of a block at a pose [px, rad], [4 * boxes, 2] [subpixels]."""
        sine, cosine = math.sin(angle) * self._scale, math.cos(angle) * self._scale
        return (
            self._corners * cosine
            + self._across * sine
            + np.array([x * self._scale, y * self._scale])
        )

    def _averaged(self, fine: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = fine.shape[0] // self._subpixels, fine.shape[1] // self._subpixels
        return np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _inset(self, boxes: Sequence[Box]) -> NDArray[np.float64]:
        """Return the corners of boxes, made a little smaller, [4 * boxes, 2] [px]."""
        inset = _INSET / self._scale
        smaller = [
            (left + inset, top + inset, right - inset, bottom - inset)
            for left, top, right, bottom in boxes
        ]
        return corners(smaller).reshape(-1, 2)

    def _empty(self) -> NDArray[np.uint8]:
        """Return the fine frame of all that never moves."""
        side, look = self._size * self._subpixels, self._look
        fine = np.full((side, side, 3), self._bytes(look.table), np.uint8)
        edges = [wall + radius for wall in WALLS for radius in (-WALL_RADIUS, WALL_RADIUS)]
        outer_low, inner_low, inner_high, outer_high = (round(edge * self._scale) for edge in edges)
        fine[outer_low:outer_high, outer_low:outer_high] = self._bytes(look.wall)
        fine[inner_low:inner_high, inner_low:inner_high] = self._bytes(look.table)
        for disc in look.discs:
            middle = _fixed_point(disc.place[0] * self._scale, disc.place[1] * self._scale)
            self._fill_disc(fine, middle, self._bytes(disc.colour))
        if look.block_double is not None:
            self._fill(fine, _fixed(self._outlines(*look.block_double, 0.0)))
        return fine

    def _bytes(self, colour: Colour, *, shade: float = 1.0) -> _Bytes:
        red, green, blue = (
            min(round(255.0 * value * self._look.light * shade), 255) for value in colour
        )
        return red, green, blue


_Place = tuple[int, int]
_Bytes = tuple[int, int, int]


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return polygons [boxes, 4, 2] in OpenCV's fixed-point numbers.

    Pixel centres are at whole numbers.
    """
    return np.rint((points - 0.5) * _ONE).astype(np.int32).reshape(-1, _NUM_CORNERS, 2)


def _fixed_point(x: float, y: float) -> _Place:
    return round((x - 0.5) * _ONE), round((y - 0.5) * _ONE)
