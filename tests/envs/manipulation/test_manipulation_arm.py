import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepabench import envs
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.manipulation.arm import LEAD, STEP, WORKSPACE_HIGH, WORKSPACE_LOW

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
# Universal Robots, "DH parameters for calculations of kinematics and dynamics", UR5e: a [m], d [m],
# alpha [rad], mass [kg], centre of mass in the link's frame [m].
UR5E = (
    (0.0, 0.1625, np.pi / 2, 3.761, (0.0, -0.02561, 0.00193)),
    (-0.425, 0.0, 0.0, 8.058, (0.2125, 0.0, 0.11336)),
    (-0.3922, 0.0, 0.0, 2.846, (0.15, 0.0, 0.0265)),
    (0.0, 0.1333, np.pi / 2, 1.37, (0.0, -0.0018, 0.01634)),
    (0.0, 0.0997, -np.pi / 2, 1.3, (0.0, 0.0018, 0.01634)),
    (0.0, 0.0996, 0.0, 0.365, (0.0, 0.0, -0.001159)),
)
MAX_TORQUES = (150.0, 150.0, 150.0, 28.0, 28.0, 28.0)


@pytest.fixture(scope="module")
def env():
    return envs.make("jepabench/PickPlace-v1")


def link_frames(angles):
    """Frames of the links by the Denavit-Hartenberg convention; the base is turned to face +x."""
    frame = np.diag([-1.0, -1.0, 1.0, 1.0])
    for angle, (a, d, alpha, *_) in zip(angles, UR5E, strict=True):
        (s, c), (sa, ca) = (np.sin(angle), np.cos(angle)), (np.sin(alpha), np.cos(alpha))
        frame = frame @ [
            [c, -s * ca, s * sa, a * c],
            [s, c * ca, -c * sa, a * s],
            [0, sa, ca, d],
            [0, 0, 0, 1],
        ]
        yield frame


def at_rest(env, pose, *, cube=(0.4, -0.2, 0.025)):
    env.reset(seed=0)
    env._set_physics(
        env.table.arm.rest_state(np.array(pose, float), env.cube.at(np.array(cube), 0.0))
    )


@given(st.lists(st.floats(-np.pi, np.pi), min_size=6, max_size=6))
@settings(max_examples=30, deadline=None)
def test_link_positions_agree_with_published_parameters(env, angles):
    model, data = env.simulation.model, mujoco.MjData(env.simulation.model)
    data.qpos[:6] = angles
    mujoco.mj_kinematics(model, data)
    for name, frame, (*_, centre) in zip(
        ("shoulder", "upper_arm", "forearm", "wrist_1", "wrist_2", "wrist_3"),
        link_frames(angles),
        UR5E,
        strict=True,
    ):
        assert data.xipos[model.body(name).id] == pytest.approx(
            (frame @ [*centre, 1.0])[:3], abs=1e-4
        )
    flange = model.site("flange").id
    assert data.site_xpos[flange] == pytest.approx(frame[:3, 3], abs=1e-9)
    assert data.site_xmat[flange] == pytest.approx(frame[:3, :3].ravel(), abs=1e-9)


def test_masses_and_limits_are_the_published_ones(env):
    model = env.simulation.model
    assert model.body_mass[model.body("shoulder").id :][:6] == pytest.approx(
        [link[3] for link in UR5E]
    )
    turn = 2 * np.pi
    ranges = model.jnt_range[[model.joint(name).id for name in JOINTS]]
    assert ranges == pytest.approx(
        np.outer([turn, turn, turn / 2, turn, turn, turn], [-1, 1]), abs=1e-4
    )
    assert model.actuator_forcerange[:6] == pytest.approx(np.outer(MAX_TORQUES, [-1, 1]))
    gripper = sum(model.body(name).mass[0] for name in ("hand", "left_finger", "right_finger"))
    assert gripper == pytest.approx(0.925)  # Robotiq 2F-85


@given(st.floats(0.0, 0.085))
@settings(max_examples=10, deadline=None)
def test_the_gap_is_the_distance_between_the_pads(env, gap):
    at_rest(env, [0.5, 0.0, 0.2, 0.4, gap])
    model, data = env.simulation.model, env.simulation.data
    left, right = model.geom("left_finger").id, model.geom("right_finger").id
    apart = np.linalg.norm(data.geom_xpos[left] - data.geom_xpos[right])
    assert apart - 2 * model.geom_size[left, 1] == pytest.approx(gap, abs=1e-9)
    assert env.table.arm.pose[4] == pytest.approx(gap, abs=1e-12)


@given(st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5))
@settings(max_examples=60, deadline=None)
def test_every_pose_of_the_workspace_is_reached_with_the_gripper_pointing_down(env, shares):
    pose = WORKSPACE_LOW + np.array(shares) * (WORKSPACE_HIGH - WORKSPACE_LOW)
    at_rest(env, pose)
    assert env.table.arm.pose == pytest.approx(pose, abs=1e-7)
    turn = env.simulation.data.site_xmat[env.simulation.model.site("gripper").id].reshape(3, 3)
    assert turn[:, 2] == pytest.approx([0, 0, 1], abs=1e-7)
    assert (np.abs(env.simulation.data.qpos[:6]) < 2 * np.pi).all()


def test_a_resting_arm_stays_where_it_is(env):
    at_rest(env, [0.6, 0.2, 0.1, 0.3, 0.05])
    before = env.table.arm.pose
    for _ in range(100):
        env._step_physics(np.zeros(5))
    assert env.table.arm.pose == pytest.approx(before, abs=1e-5)


@given(st.lists(st.floats(-1.0, 1.0), min_size=5, max_size=5))
@settings(max_examples=20, deadline=None)
def test_a_free_gripper_moves_by_the_sum_of_its_actions(env, action):
    start = np.array([0.48, 0.0, 0.18, 0.0, 0.042])
    at_rest(env, start)
    for _ in range(3):
        env._step_physics(np.array(action))
    for _ in range(8):
        env._step_physics(np.zeros(5))
    # Forward and down at full speed the arm falls behind by more than LEAD and the command waits:
    # 3.3 mm of 75, the most of all.
    assert env.table.arm.pose == pytest.approx(start + 3 * STEP * action, abs=4e-3)


def test_the_command_stays_in_the_workspace_and_near_the_arm():
    env = envs.make("jepabench/PickPlace-v1")
    rng = np.random.default_rng(0)
    for seed in range(4):
        env.reset(seed=seed)
        for action in rng.choice([-1.0, 1.0], (30, 5)).repeat(5, axis=0):
            before = env.table.arm.pose
            env.step(action)
            command = env.table.arm.command
            assert (command >= WORKSPACE_LOW).all() and (command <= WORKSPACE_HIGH).all()
            nearest = before.clip(WORKSPACE_LOW, WORKSPACE_HIGH)
            assert (np.abs(command - nearest) <= LEAD + 1e-12).all()
            assert np.isfinite(env.snapshot().physics).all()
            assert np.linalg.norm(env.cube.velocity[:3]) < 5.0
            assert -0.01 < env.cube.position[2] < 0.6
            tips = [
                env.simulation.data.body(name).xpos[2] - 0.045
                for name in ("left_finger", "right_finger")
            ]
            assert min(tips) > -0.002  # the gripper and the table never meet


@pytest.mark.parametrize("task_id", ["jepabench/Reach-v1", "jepabench/Push-v1"])
def test_the_fifth_action_does_nothing_where_the_gripper_stays_closed(task_id):
    env = envs.make(task_id)
    seen = []
    for grip in (-1.0, 0.0, 1.0):
        env.reset(seed=0)
        seen.append(env.advance(np.tile([0.5, -0.5, -0.2, 0.3, grip], (20, 1)))[0]["observation"])
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[1], seen[2])


def test_a_snapshot_during_a_grasp_restores_exactly():
    env, other = envs.make("jepabench/PickPlace-v1"), envs.make("jepabench/PickPlace-v1")
    observation, _ = env.reset(seed=4)
    expert = make_behaviour(env.task, "expert")
    expert.reset(env, np.random.default_rng(0))
    for _ in range(100):
        observation, *_ = env.step(expert.act(observation))
        if observation["achieved_goal"][2] > 0.06:
            break
    assert observation["achieved_goal"][2] > 0.06
    state = env.snapshot()
    actions = np.random.default_rng(1).uniform(-1, 1, (40, 5))
    ahead = env.advance(actions)[0]["observation"]
    other.restore(state)
    assert np.array_equal(other.advance(actions)[0]["observation"], ahead)
