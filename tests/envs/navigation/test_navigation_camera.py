import mujoco
import numpy as np
import pytest

from jepabench.envs.mujoco_world.camera import Camera
from jepabench.envs.mujoco_world.rendering import RayCamera

SCENE = """
<mujoco>
  <worldbody>
    <body name="ground">
      <geom type="plane" size="9 9 1" rgba="0.8 0.8 0.7 1" contype="0" conaffinity="0"/></body>
    <geom type="box" size="0.3 2 1" pos="2.5 0.4 1" rgba="0.9 0.3 0.3 1"/>
    <geom type="box" size="1 0.4 0.6" pos="0.4 2.3 0.6" rgba="0.3 0.9 0.3 1"/>
    <geom type="cylinder" size="0.5 0.7" pos="-1.7 -0.6 0.7" rgba="0.2 0.3 0.9 1"/>
    <body name="rider" pos="0 0 0.2">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <joint name="turn" type="hinge" axis="0 0 1"/>
      <geom type="sphere" size="0.1" rgba="0 0 0 0"/>
    </body>
    <body name="other" pos="0 -2 0.5">
      <joint type="slide" axis="1 0 0"/>
      <geom type="sphere" size="0.5" rgba="0.9 0.8 0.1 1"/>
    </body>
  </worldbody>
</mujoco>
"""
EYE = Camera(position=(0.1, 0.0, 0.6), target=(1.0, 0.0, 0.55), field_of_view=np.pi / 2)
POSES = ((0.0, 0.0, 0.0, 0.0), (-0.3, 0.4, 2.0, 0.5), (0.5, -0.6, -1.7, -0.4))
SKY = (0.1, 0.2, 0.3)


@pytest.fixture(scope="module")
def model():
    return mujoco.MjModel.from_xml_string(SCENE)


def posed(model, pose):
    data = mujoco.MjData(model)
    data.qpos[:] = pose
    mujoco.mj_kinematics(model, data)
    return data


def one_ray_at_a_time(model, data, size, *, checker=None):
    """Every corner of every pixel from mj_ray; colours are not shaded."""
    body = data.body("rider")
    turn = body.xmat.reshape(3, 3)
    origin = body.xpos + turn @ EYE.position
    steps = (2.0 * np.arange(size + 1) / size - 1.0) * np.tan(EYE.field_of_view / 2)
    groups, hit = np.array([1, 1, 1, 0, 0, 0], np.uint8), np.zeros(1, np.int32)
    right, down, forward = EYE.axes @ turn.T
    corners = np.empty((size + 1, size + 1, 3))
    for row, column in np.ndindex(size + 1, size + 1):
        ray = forward + steps[column] * right + steps[row] * down
        ray /= np.linalg.norm(ray)
        depth = mujoco.mj_ray(model, data, origin, ray, groups, 1, -1, hit)
        colour = np.array(SKY) if hit[0] < 0 else model.geom_rgba[hit[0], :3].astype(float)
        stands_still = hit[0] >= 0 and model.body_weldid[model.geom_bodyid[hit[0]]] == 0
        if checker and stands_still:
            squares = np.floor((origin + (depth + 1e-6) * ray) / checker).sum()
            colour = colour * (0.94 if squares % 2 else 1.0)
        corners[row, column] = colour
    return 255 * (corners[1:, 1:] + corners[:-1, 1:] + corners[1:, :-1] + corners[:-1, :-1]) / 4


@pytest.mark.parametrize("size", [32, 33])
def test_a_moving_camera_agrees_with_mujocos_single_rays(model, size):
    eye = RayCamera(model, EYE, mount="rider", ambient=1.0, background=SKY)
    for pose in POSES:
        data = posed(model, pose)
        frame = eye.frame(data, size)
        assert frame.shape == (size, size, 3) and frame.flags.c_contiguous
        assert np.abs(frame - one_ray_at_a_time(model, data, size)).max() <= 0.51


def test_the_pattern_is_on_everything_that_stands_still(model):
    eye = RayCamera(model, EYE, mount="rider", ambient=1.0, background=SKY, checker=0.4)
    for pose in POSES:
        data = posed(model, pose)
        frame, expected = eye.frame(data, 32), one_ray_at_a_time(model, data, 32, checker=0.4)
        # Where an edge of a square passes through the corner of a pixel, either side may be meant.
        assert (np.abs(frame - expected) > 0.51).any(axis=2).mean() < 0.01


def test_moving_camera_is_stateless(model):
    eye = RayCamera(model, EYE, mount="rider", checker=0.4)
    first = eye.frame(posed(model, POSES[0]), 48)
    assert not np.array_equal(eye.frame(posed(model, POSES[1]), 48), first)
    eye.frame(posed(model, POSES[2]), 31)
    assert np.array_equal(eye.frame(posed(model, POSES[0]), 48), first)
    assert np.array_equal(
        RayCamera(model, EYE, mount="rider", checker=0.4).frame(posed(model, POSES[0]), 48), first
    )


def test_turning_to_the_left_moves_the_picture_to_the_right(model):
    eye = RayCamera(model, EYE, mount="rider")

    def middle_of_the_green_box(turn):
        frame = eye.frame(posed(model, (0.0, 0.0, turn, 0.0)), 64).astype(int)
        return np.nonzero(frame[..., 1] > frame[..., 0] + 40)[1].mean()

    assert (
        middle_of_the_green_box(1.0) < middle_of_the_green_box(1.2) < middle_of_the_green_box(1.4)
    )


def test_brightness_never_leaves_the_range_of_a_byte(model):
    eye = RayCamera(model, EYE, mount="rider", background=(0.9, 0.9, 0.9))
    still = RayCamera(
        model, Camera(position=(0.0, 0.0, 1.0), target=(1.0, 0.0, 1.2)), background=(0.9, 0.9, 0.9)
    )
    for camera in (eye, still):
        camera.brightness = 1.5
        camera.invalidate()
        assert (camera.frame(posed(model, POSES[0]), 32)[0] == 255).any()
        assert camera.frame(posed(model, POSES[0]), 32)[0].min() > 100
