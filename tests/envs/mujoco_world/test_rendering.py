import mujoco
import numpy as np
import pytest

from jepabench.envs.mujoco_world.camera import Camera
from jepabench.envs.mujoco_world.rendering import RayCamera

SCENE = """
<mujoco>
  <visual><map zfar="100"/></visual>
  <worldbody>
    <geom name="floor" type="plane" size="2 2 1" rgba="0.9 0.9 0.8 1"/>
    <geom name="block" type="box" size="0.3 0.2 0.4" pos="0.9 0.6 0.4" rgba="0.2 0.3 0.5 1"/>
    <geom name="hidden" type="box" size="2 2 0.1" pos="0 0 2" rgba="1 0 0 0"/>
    <geom name="guard" type="box" size="2 2 0.1" pos="0 0 2" group="3"/>
    <body name="stand" pos="-0.9 0.7 0.2">
      <geom name="stand" type="cylinder" size="0.2 0.2" contype="0" conaffinity="0" rgba="0.5 0.5
        0.5 1"/>
    </body>
    <body name="arm" pos="0 0 0.5">
      <joint name="shoulder" type="hinge" axis="0 0.3 1"/>
      <geom name="link" type="capsule" size="0.08" fromto="0 0 0 0.8 0 0.2" rgba="0.9 0.5 0.1 1"/>
      <body pos="0.8 0 0.2">
        <joint name="wrist" type="hinge" axis="0 1 0"/>
        <geom name="core" type="sphere" size="0.05" rgba="0 0 0 0"/>
        <geom name="hand" type="sphere" size="0.25" pos="0 0 0.2" contype="0" conaffinity="0"
          rgba="0.8 0.1 0.1 1"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
OVERHEAD = Camera.overhead(extent=4.0)
OBLIQUE = Camera(position=(2.5, -3.0, 2.5), target=(0.0, 0.0, 0.3))


@pytest.fixture
def model():
    return mujoco.MjModel.from_xml_string(SCENE)


def posed(model, *angles):
    data = mujoco.MjData(model)
    data.qpos[:] = angles
    mujoco.mj_kinematics(model, data)
    return data


def one_ray_at_a_time(model, data, camera, background, size):
    """The same picture from mj_ray, without any of the camera's shortcuts; colours are not
    shaded.
    """
    groups, hit = np.array([1, 1, 1, 0, 0, 0], np.uint8), np.zeros(1, np.int32)
    rays = camera.rays(size)
    colours = np.empty(rays.shape)
    for place in np.ndindex(rays.shape[:2]):
        mujoco.mj_ray(model, data, np.array(camera.position), rays[place], groups, 1, -1, hit)
        colours[place] = model.geom_rgba[hit[0], :3] if hit[0] >= 0 else background
    return colours.mean(axis=1).reshape(size, size, 3) * 255


@pytest.mark.parametrize("camera", [OVERHEAD, OBLIQUE], ids=["overhead", "oblique"])
def test_frames_agree_with_mujocos_single_rays(model, camera):
    eye = RayCamera(model, camera, ambient=1.0, background=(0.1, 0.2, 0.3))
    for angles in ((0.0, 0.0), (1.9, 0.7), (-2.4, -1.5)):
        data = posed(model, *angles)
        expected = one_ray_at_a_time(model, data, camera, (0.1, 0.2, 0.3), 32)
        assert np.abs(eye.frame(data, 32) - expected).max() <= 0.51


def test_a_frame_depends_on_the_pose_alone_and_not_on_earlier_frames(model):
    eye, other = RayCamera(model, OBLIQUE, checker=0.5), RayCamera(model, OBLIQUE, checker=0.5)
    first = eye.frame(posed(model, 0.3, 0.2), 48)
    assert not np.array_equal(eye.frame(posed(model, 2.0, 0.2), 48), first)
    eye.frame(posed(model, 2.0, 0.2), 64)
    assert np.array_equal(eye.frame(posed(model, 0.3, 0.2), 48), first)
    assert np.array_equal(other.frame(posed(model, 0.3, 0.2), 48), first)


def test_the_caller_owns_a_frame(model):
    eye, data = RayCamera(model, OVERHEAD), posed(model, 0.0, 0.0)
    frame = eye.frame(data, 32)
    copy = frame.copy()
    frame[:] = 0
    assert np.array_equal(eye.frame(data, 32), copy)


def test_rendering_does_not_change_the_model(model):
    before = model.geom_group.copy(), model.geom_rgba.copy(), model.body_bvhadr.copy()
    RayCamera(model, OVERHEAD).frame(posed(model, 0.0, 0.0), 32)
    after = model.geom_group, model.geom_rgba, model.body_bvhadr
    assert all(map(np.array_equal, before, after))


def test_invalidate_shows_new_colours_and_places(model):
    eye, data = RayCamera(model, OVERHEAD, ambient=1.0), posed(model, 0.0, 0.0)
    before = eye.frame(data, 32)
    model.geom("floor").rgba[:3] = 0.0, 1.0, 0.0
    model.geom("block").pos[:2] = -0.9, -0.9
    mujoco.mj_kinematics(model, data)
    assert np.array_equal(eye.frame(data, 32), before)
    eye.invalidate()
    assert np.array_equal(
        eye.frame(data, 32), RayCamera(model, OVERHEAD, ambient=1.0).frame(data, 32)
    )
    assert (eye.frame(data, 32) == [0, 255, 0]).all(axis=-1).mean() > 0.5


def test_the_overhead_camera_puts_x_to_the_right_and_y_upwards():
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><geom type="sphere" size="0.1" pos="1 0.5 0" rgba="1 1 1 '
        '1"/></worldbody></mujoco>'
    )
    eye = RayCamera(
        model, Camera.overhead(extent=4.0, height=100.0), background=(0.0, 0.0, 0.0), ambient=1.0
    )
    rows, columns = np.nonzero(eye.frame(posed(model), 80)[..., 0])
    assert columns.mean() + 0.5 == pytest.approx((1.0 + 2.0) * 20, abs=0.2)
    assert rows.mean() + 0.5 == pytest.approx((2.0 - 0.5) * 20, abs=0.2)
    assert len(rows) == pytest.approx(np.pi * (0.1 * 20) ** 2, rel=0.5)


def test_surfaces_that_face_the_light_are_brighter():
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><geom type="sphere" size="1" rgba="0.5 0.5 0.5 '
        '1"/></worldbody></mujoco>'
    )
    eye = RayCamera(model, Camera.overhead(extent=3.0), light=(-1.0, 0.0, 1.0))
    row = eye.frame(posed(model), 60)[30, :, 0].astype(int)
    assert row[18] > row[30] > row[42]
    assert row[30] == pytest.approx(127.5, abs=3)


def test_a_larger_frame_shows_the_same_picture(model):
    eye, data = RayCamera(model, OBLIQUE), posed(model, 0.5, 0.5)
    small = eye.frame(data, 32).astype(float)
    large = eye.frame(data, 128).astype(float).reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - large).mean() < 3


def test_a_moving_geom_beside_the_camera_is_still_drawn(model):
    data = posed(model, 0.0, 0.0)
    inside = Camera(position=(0.4, -0.5, 0.6), target=(0.4, 0.5, 0.6))
    expected = one_ray_at_a_time(model, data, inside, (0.0, 0.0, 0.0), 24)
    frame = RayCamera(model, inside, ambient=1.0, background=(0.0, 0.0, 0.0)).frame(data, 24)
    assert np.abs(frame - expected).max() <= 0.51


def test_impossible_cameras_are_refused(model):
    with pytest.raises(ValueError, match="field_of_view"):
        Camera(position=(0.0, 0.0, 1.0), target=(1.0, 0.0, 0.0), field_of_view=4.0)
    with pytest.raises(ValueError, match="up direction"):
        Camera(position=(0.0, 0.0, 1.0), target=(0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="above"):
        RayCamera(model, OVERHEAD, light=(1.0, 0.0, 0.0))
