"""Compare frames of Push-T with the exact coverage of each pixel."""

import numpy as np
import pytest

from jepabench.envs.pusht.drawing import Disc, Drawing, Look
from jepabench.envs.pusht.shapes import SHAPES, T, turned

FINE = 8  # samples along a pixel
POSES = [
    ((300.0, 120.0), (256.0, 240.0, 0.7)),
    ((161.3, 402.9), (330.2, 201.7, -2.1)),
    ((40.0, 470.0), (90.5, 110.1, 3.0)),
]
BLUE = np.array([65, 105, 225])


def truth(shape, size, pusher, block):
    """A frame without walls, by counting samples."""
    look, side = Look(), (np.arange(size * FINE) + 0.5) * 512 / (size * FINE)
    points = np.stack(np.meshgrid(side, side), axis=-1)
    own = turned(points - np.array(block[:2]), -block[2])
    frame = np.ones((*points.shape[:2], 3))
    frame[shape.contains(own)] = look.block
    if shape.mark:
        left, top, right, bottom = shape.mark
        frame[((own >= [left, top]) & (own <= [right, bottom])).all(axis=-1)] = (
            np.array(look.block) * 0.54
        )
    frame[((points - pusher) ** 2).sum(axis=-1) <= 15.0**2] = look.pusher
    return 255.0 * frame.reshape(size, FINE, size, FINE, 3).mean(axis=(1, 3))


def inside(frame):
    """The frame without the walls."""
    edge = -(-frame.shape[0] * 8 // 512)
    return np.asarray(frame, np.float64)[edge:-edge, edge:-edge]


@pytest.mark.parametrize("shape", SHAPES[::3], ids=lambda shape: shape.name)
@pytest.mark.parametrize("size", [48, 80])
def test_a_pixel_has_the_colours_of_the_shapes_that_cover_it(shape, size):
    for pusher, block in POSES:
        error = inside(Drawing(shape, size, Look()).frame(pusher, block)) - inside(
            truth(shape, size, pusher, block)
        )
        assert np.abs(error).max() < 45.0
        assert (
            np.abs(error).sum() / 3 / 255 < 0.02 * size
        )  # pixels; an outline is about as long as the frame is wide
        assert abs(error.sum()) / 3 / 255 < 0.02 * size


@pytest.mark.parametrize("size", [32, 64, 96, 100, 224])
def test_frames_have_the_size_asked_for_and_walls_around(size):
    frame = Drawing(T, size, Look()).frame(*POSES[0])
    assert frame.shape == (size, size, 3) and frame.dtype == np.uint8
    wall = frame[size // 4, size * 5 // 512]
    assert (wall < 250).all() and len(set(wall.tolist())) == 1
    assert (frame[size // 4, size // 8] == 255).all()


def test_motion_by_a_tenth_of_a_pixel_changes_the_frame():
    drawing = Drawing(T, 64, Look())
    (x, y), block = POSES[0]
    assert not np.array_equal(drawing.frame((x, y), block), drawing.frame((x + 0.8, y), block))
    assert not np.array_equal(
        drawing.frame((x, y), block), drawing.frame((x, y), (*block[:2], block[2] + 0.02))
    )


def test_a_frame_does_not_depend_on_those_before_it():
    used = Drawing(T, 64, Look())
    for pose in POSES:
        assert np.array_equal(used.frame(*pose), Drawing(T, 64, Look()).frame(*pose))


@pytest.mark.parametrize("pusher", [(0.0, 0.0), (512.0, 512.0), (-200.0, 256.0), (256.0, 900.0)])
def test_shapes_outside_the_workspace_are_clipped(pusher):
    drawing = Drawing(T, 64, Look())
    assert drawing.frame(pusher, (600.0, -80.0, 1.0)).shape == (64, 64, 3)


def test_an_appearance_changes_the_frame():
    pusher, block = POSES[0]
    plain = Drawing(T, 64, Look()).frame(pusher, block)

    def differs_at(look, x, y):
        return (Drawing(T, 64, look).frame(pusher, block) != plain).any(axis=-1)[
            int(y / 8), int(x / 8)
        ]

    assert differs_at(Look(block=(0.9, 0.1, 0.1)), 256, 256) and not differs_at(
        Look(block=(0.9, 0.1, 0.1)), 300, 120
    )
    assert differs_at(Look(hides_pusher=True), 300, 120) and not differs_at(
        Look(hides_pusher=True), 256, 256
    )
    assert differs_at(Look(hides_block=True), 250, 256) and not differs_at(
        Look(hides_block=True), 300, 120
    )
    assert differs_at(Look(block_double=(100.0, 380.0)), 100, 396)
    assert differs_at(Look(discs=(Disc(place=(420.0, 420.0), colour=(0.0, 0.6, 0.2)),)), 420, 420)
    assert differs_at(Look(light=0.5), 20, 20)
    assert (Drawing(T, 64, Look(light=2.0)).frame(pusher, block) >= plain).all()


def test_symmetric_shapes_have_a_mark():
    for shape in SHAPES:
        for part in (np.pi / 2, np.pi):
            frame, turned_frame = (
                Drawing(shape, 64, Look()).frame((450.0, 450.0), (256.0, 256.0, a))
                for a in (0.0, part)
            )
            changed = np.abs(frame.astype(int) - turned_frame).sum() / 3 / 255
            assert changed > 4.0, (shape.name, part)
