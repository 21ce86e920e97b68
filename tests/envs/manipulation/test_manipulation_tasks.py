import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from jepabench import envs
from jepabench.envs.core import withheld
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.manipulation import pick_place, push, reach, recombination
from jepabench.envs.manipulation.pick_place import OPEN
from jepabench.envs.manipulation.tabletop import TABLE
from jepabench.envs.splits import episode_specs

TASKS = [task.id for task in envs.list_tasks(family="manipulation")]
STRATA = {
    "jepabench/Reach-v1": reach.STRATA,
    "jepabench/Reach-Wall-v1": reach.WALL_STRATA,
    "jepabench/Reach-Recombination-v1": dict.fromkeys(
        withheld.STRATA, (recombination.SHORTEST_MOVE, recombination.LONGEST_WAY)
    ),
    "jepabench/Push-v1": push.STRATA,
    "jepabench/Push-Wall-v1": push.WALL_STRATA,
    "jepabench/PickPlace-v1": pick_place.STRATA,
}


@pytest.fixture(scope="module")
def worlds():
    return {task_id: envs.make(task_id, pixels=64) for task_id in TASKS}


@pytest.fixture
def picking(worlds):
    env = worlds["jepabench/PickPlace-v1"]
    env.reset(seed=0)
    return env


def put_cube(env, position, yaw=0.0, *, gripper=None):
    gripper = np.array([0.35, -0.25, 0.25, 0.0, OPEN]) if gripper is None else gripper
    env._set_physics(env.table.arm.rest_state(gripper, env.cube.at(np.array(position), yaw)))


def held_share(task_id, behaviour, num_episodes, *, moved=None):
    env = envs.make(task_id)
    solved = []
    for spec in episode_specs(task_id, "validation", num_episodes):
        observation, info = envs.reset_to(env, spec)
        policy = make_behaviour(env.task, behaviour)
        policy.reset(env, np.random.default_rng(spec.planner_seed))
        start, held = observation["achieved_goal"], 0
        for _ in range(info["budget"]):
            observation, _, _, _, info = env.step(policy.act(observation))
            held = held + 1 if info["is_success"] else 0
            if held == env.task.held_steps:
                break
        solved.append(held == env.task.held_steps)
        if moved is not None:
            moved.append(float(np.abs(observation["achieved_goal"] - start)[:2].max()) > 0.02)
    return np.mean(solved)


@pytest.mark.parametrize("task_id", TASKS)
def test_the_achieved_goal_comes_first_in_the_observation(task_id, worlds):
    env = worlds[task_id]
    env.reset(seed=0)
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 5)):
        observation = env.step(action)[0]
        goal = observation["achieved_goal"]
        assert np.array_equal(observation["observation"][: len(goal)], goal)


@pytest.mark.parametrize("task_id", TASKS)
def test_draws_keep_to_their_stratum_and_break_no_rule(task_id):
    env = envs.make(task_id)
    for spec in episode_specs(task_id, "validation", 15):
        observation, info = envs.reset_to(env, spec)
        start, goal = observation["achieved_goal"], observation["desired_goal"]
        shortest, longest = STRATA[task_id][spec.stratum]
        if task_id == "jepabench/PickPlace-v1":
            length = np.linalg.norm(start[:2] - goal[:2])
        else:
            length = env.path_distance(start)
            straight = np.linalg.norm(start - goal)
            assert length == pytest.approx(straight) if "Wall" not in task_id else length > straight
        assert shortest < length <= longest
        assert not info["violation"]
        env._set_physics(env.draw.goal)
        assert not env._violated()


@pytest.mark.parametrize("task_id", TASKS)
def test_experts_solve_their_task_and_doing_nothing_does_not(task_id):
    assert held_share(task_id, "expert", 5) == 1.0


@pytest.mark.parametrize(
    "task_id", ["jepabench/Push-v1", "jepabench/Push-Wall-v1", "jepabench/PickPlace-v1"]
)
def test_random_behaviour_moves_the_box_in_most_episodes(task_id):
    moved = []
    assert held_share(task_id, "random", 5, moved=moved) < 0.5
    assert np.mean(moved) > 0.7


# -- reach -----------------------------------------------------------------------------------------

places = st.tuples(st.floats(0.3, 0.65), st.floats(0.08, 0.3), st.floats(0.03, 0.25))


@given(places, places)
@settings(max_examples=40, deadline=None)
def test_the_path_past_the_wall_is_the_shorter_of_both_sides(worlds, start, goal):
    env = worlds["jepabench/Reach-Wall-v1"]
    start, goal = np.array(start) * [1, -1, 1], np.array(goal)
    straight, over, around = env._lengths(start, goal)
    x, z = env._edge_x, env._edge_z

    def shortest(corner):
        def length(place):
            return np.linalg.norm(start - corner(place)) + np.linalg.norm(goal - corner(place))

        return minimize_scalar(
            length, bounds=(-1, 2), method="bounded", options={"xatol": 1e-9}
        ).fun

    if np.isinf(straight):
        assert over == pytest.approx(shortest(lambda place: np.array([place, 0.0, z])), abs=1e-6)
        assert around == pytest.approx(shortest(lambda place: np.array([x, 0.0, place])), abs=1e-6)
        way = env.way(start, goal)
        assert np.array_equal(way[-1], goal) and len(way) == 3
    else:
        crossing = start - start[1] / (goal[1] - start[1]) * (goal - start)
        assert crossing[0] >= x or crossing[2] >= z
        assert straight == pytest.approx(np.linalg.norm(start - goal))


def test_touching_the_wall_is_a_violation_and_going_over_it_is_not(worlds):
    env = worlds["jepabench/Reach-Wall-v1"]
    for height, touches in ((0.05, True), (0.2, False)):
        env.reset(seed=0)
        env._set_physics(env.table.arm.rest_state(np.array([0.35, -0.15, height, 0.0, 0.0]), {}))
        seen = [env.step(np.array([0.0, 1.0, 0.0, 0.0, 0.0]))[4]["violation"] for _ in range(12)]
        assert any(seen) == touches and not seen[0]
        assert (env.table.arm.pose[1] > 0.0) == (not touches)  # it is a wall


# -- push ------------------------------------------------------------------------------------------


def test_a_block_moves_as_far_as_the_gripper_pushes_it(worlds):
    env = worlds["jepabench/Push-v1"]
    env.reset(seed=0)
    env._set_physics(env._rest_state(np.array([0.48, -0.15, 0.025]), np.array([0.48, -0.1]), 0.0))
    for _ in range(16):
        env.step(np.array([0.0, 0.4, 0.0, 0.0, 0.0]))
    for _ in range(10):
        env.step(np.zeros(5))
    block, gripper = env.block.position, env.table.arm.pose
    assert gripper[1] == pytest.approx(-0.15 + 16 * 0.01, abs=1e-3)
    assert block[1] - gripper[1] == pytest.approx(
        0.035 + 0.016, abs=0.01
    )  # half a block and half the closed fingers
    assert block[0] == pytest.approx(0.48, abs=0.01)
    assert np.abs(env.block.velocity).max() < 1e-2


def test_a_sliding_block_obeys_coulomb_friction(worlds):
    env = worlds["jepabench/Push-v1"]
    env.reset(seed=0)
    env._set_physics(env._rest_state(np.array([0.3, 0.3, 0.25]), np.array([0.48, 0.0]), 0.0))
    speed, friction = 1.0, 0.5
    env.simulation.data.joint("block").qvel[0] = speed
    for _ in range(20):
        env.step(np.zeros(5))
    assert env.block.position[0] - 0.48 == pytest.approx(speed**2 / (2 * friction * 9.81), rel=0.15)


def test_the_path_around_the_wall_is_longer_than_the_straight_line_and_finite(worlds):
    env = worlds["jepabench/Push-Wall-v1"]
    env.reset(seed=0)
    places = np.random.default_rng(0).uniform(
        np.array(TABLE[:2]) - 0.1, np.array(TABLE[2:]) + 0.1, (4, 25, 2)
    )
    lengths = env.path_distance(places)
    assert lengths.shape == (4, 25) and np.isfinite(lengths).all()
    hidden = ~env.free_space.visible(places, env._desired_goal)
    straight = env.distance(places, env._desired_goal)
    assert hidden.any() and (lengths > straight)[hidden].all()
    assert lengths[~hidden] == pytest.approx(
        straight[~hidden], abs=0.1
    )  # a place beyond the edge goes by the edge
    assert (lengths >= straight - 1e-9).all()


def test_a_block_at_the_wall_is_a_violation(worlds):
    env = worlds["jepabench/Push-Wall-v1"]
    env.reset(seed=0)
    for y, touches in ((0.06, False), (0.0495, True)):
        env._set_physics(env._rest_state(np.array([0.6, 0.2, 0.2]), np.array([0.35, y]), 0.0))
        assert env._violated() == touches


# -- pick and place --------------------------------------------------------------------------------


@given(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(-0.7, 0.7), st.floats(-0.7, 0.7))
@settings(max_examples=30, deadline=None)
def test_the_distance_is_that_of_the_upright_edges(worlds, x, y, yaw, goal_yaw):
    def edges(x, y, yaw):
        c, s = np.cos(yaw), np.sin(yaw)
        square = 0.025 * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
        return square @ [[c, s], [-s, c]] + [x, y]

    achieved = np.array([x, y, 0.025, np.cos(4 * yaw), np.sin(4 * yaw), 1.0])
    goal = np.array([0.0, 0.0, 0.025, np.cos(4 * goal_yaw), np.sin(4 * goal_yaw), 1.0])
    apart = min(
        np.sqrt(
            ((edges(x, y, yaw + turn * np.pi / 2) - edges(0, 0, goal_yaw)) ** 2).sum(axis=1).mean()
        )
        for turn in range(4)
    )
    assert worlds["jepabench/PickPlace-v1"].distance(achieved, goal) == pytest.approx(
        apart, abs=1e-9
    )


def test_success_needs_pose_release_and_rest(picking):
    goal = picking._desired_goal
    position, yaw = goal[:3], np.arctan2(goal[4], goal[3]) / 4

    def solved():
        return bool(picking._is_success_now())

    for turn in range(4):
        put_cube(picking, position, yaw + turn * np.pi / 2)
        assert solved()
    for wrong in ([0.035, 0, 0], [0, -0.035, 0]):
        put_cube(picking, position + wrong, yaw)
        assert not solved()
    put_cube(picking, position, yaw + np.deg2rad(13))
    assert solved()
    put_cube(picking, position, yaw + np.deg2rad(17))
    assert not solved()
    put_cube(picking, position, yaw, gripper=np.array([*position, yaw, 0.0499]))
    assert not solved()  # still held
    put_cube(picking, position, yaw)
    picking.simulation.data.joint("cube").qvel[:] = [0.02, 0, 0, 0, 0, 0]
    assert not solved()  # still sliding


def test_a_falling_cube_settles_when_it_lies(picking):
    put_cube(picking, [0.42, -0.05, 0.08])
    settled = [picking.step(np.zeros(5))[0]["achieved_goal"][5] for _ in range(20)]
    assert settled[0] == 0.0 and settled[-1] == 1.0
    assert picking.cube.position[2] == pytest.approx(0.025, abs=1e-3)


def test_the_face_that_a_cube_lies_on_does_not_matter(picking):
    put_cube(picking, [0.42, -0.05, 0.025], 0.3)
    joint = picking.simulation.data.joint("cube")
    expected = picking._achieved_goal()
    half = np.sqrt(0.5)
    for quarter in ([half, half, 0, 0], [half, 0, half, 0], [0, 1, 0, 0]):
        w, z = np.cos(0.15), np.sin(0.15)
        a, b, c, d = quarter
        joint.qpos[3:] = [w * a - z * d, w * b - z * c, w * c + z * b, w * d + z * a]
        picking._set_physics(picking._get_physics())
        assert picking._achieved_goal() == pytest.approx(expected, abs=1e-9)


def test_a_cube_is_held_while_it_is_carried_and_can_be_let_go(picking):
    put_cube(picking, [0.45, -0.1, 0.025], gripper=np.array([0.45, -0.1, 0.025, 0.0, OPEN]))
    picking.advance(np.tile([0.0, 0, 0, 0, -1.0], (12, 1)))
    picking.advance(np.tile([0.0, 0, 0.5, 0.2, 0.0], (10, 1)))
    picking.advance(np.tile([0.0, 1.0, 0, 0, 0.0], (5, 1)))
    picking.advance(np.zeros((6, 5)))
    offset = picking.cube.position - picking.table.arm.pose[:3]
    assert np.abs(offset).max() < 5e-3 and picking.cube.position[2] > 0.13
    assert picking.cube.yaw == pytest.approx(picking.table.arm.pose[3], abs=0.05)
    picking.advance(np.tile([0.0, 0, 0, 0, 1.0], (8, 1)))
    picking.advance(np.zeros((12, 5)))
    assert picking.cube.position[2] == pytest.approx(0.025, abs=1e-3)


def test_half_of_the_goals_are_on_the_platform_and_all_lie_still(worlds):
    env = worlds["jepabench/PickPlace-v1"]
    heights = []
    for spec in episode_specs(env.task.id, "validation", 15):
        envs.reset_to(env, spec)
        env._set_physics(env.draw.goal)
        goal = env._achieved_goal()
        for _ in range(5):
            env._step_physics(np.zeros(5))
        assert env._achieved_goal() == pytest.approx(goal, abs=2e-3)
        heights.append(goal[2] > 0.05)
    assert 0.25 < np.mean(heights) < 0.75


@pytest.mark.parametrize("task_id", ["jepabench/Push-v1", "jepabench/PickPlace-v1"])
def test_a_resized_box_lies_on_the_table(task_id, worlds):
    env = worlds[task_id]
    for size in (0.8, 1.2):
        env.reset(
            seed=1,
            options={"variation": {f"{'block' if 'Push' in task_id else 'cube'}_size": size}},
        )
        before = env._observation()
        env.advance(np.zeros((10, 5)))
        height = (env.block if "Push" in task_id else env.cube).position[2]
        assert height == pytest.approx(0.025 * size, abs=5e-4)
        assert env._observation()[: len(env._desired_goal)] == pytest.approx(
            before[: len(env._desired_goal)], abs=1e-3
        )


# -- frames ----------------------------------------------------------------------------------------


def coloured(frame, *, red):
    """Pixels of the box, or of the fingers."""
    r, g, b = frame.astype(int).transpose(2, 0, 1)
    return (
        (r > 100) & (g < 0.5 * r) & (b < 0.5 * r)
        if red
        else (r > 90) & (g > 0.55 * r) & (b < 0.45 * r)
    )


@pytest.mark.parametrize("task_id", ["jepabench/Push-v1", "jepabench/PickPlace-v1"])
def test_box_and_fingers_are_visible_everywhere_on_the_table(task_id, worlds):
    env = worlds[task_id]
    env.reset(seed=0)
    box = env.block if task_id == "jepabench/Push-v1" else env.cube
    low, high = np.reshape(TABLE, (2, 2))
    for x in (low[0], high[0]):
        for y in (low[1], high[1]):
            if box.name == "cube" and x > 0.36 and y > 0.0:
                continue  # there the platform stands
            gripper = np.array([0.45, -y, 0.15, 0.0, 0.08])
            joints = box.at(np.array([x, y, box.half_size[2]]), 0.3)
            env._set_physics(env.table.arm.rest_state(gripper, joints))
            frame = env._frame(64)
            assert coloured(frame, red=True).sum() >= 9
            assert coloured(frame, red=False).sum() >= 3


def test_the_goal_picture_shows_the_box_at_the_goal(worlds):
    env = worlds["jepabench/PickPlace-v1"]
    for spec in episode_specs(env.task.id, "test", 3):
        observation, _ = envs.reset_to(env, spec)
        goal = observation["desired_goal"]
        put_cube(env, goal[:3], np.arctan2(goal[4], goal[3]) / 4)
        there = np.argwhere(coloured(env._frame(64), red=True)).mean(axis=0)
        shown = np.argwhere(coloured(observation["goal_pixels"], red=True))
        assert len(shown) >= 4 and np.abs(shown.mean(axis=0) - there).max() < 2.0
