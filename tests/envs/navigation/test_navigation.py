import itertools

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepabench import envs
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.navigation import layouts
from jepabench.envs.navigation.rooms import STRATA, heading_error
from jepabench.envs.splits import episode_specs
from jepabench.envs.task import SPLITS

TASK = "jepabench/Navigation-v1"
RADIUS, SOFTNESS = 0.15, 0.01  # contacts give way by millimetres [m]


@pytest.fixture(scope="module")
def env():
    return envs.make(TASK)


def put(env, x, y, heading):
    env._set_physics(env._state_at(np.array([x, y]), heading))


def gap(world, place):
    """Returns the distance from a place to the nearest wall or obstacle."""
    boxes, is_round = world["boxes"], world["round"] == 1
    outside = np.maximum(np.maximum(boxes[:, :2] - place, place - boxes[:, 2:]), 0)
    middles, radii = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2] - boxes[:, 0]) / 2
    to_round = np.linalg.norm(middles - place, axis=1) - radii
    return np.where(is_round, to_round, np.linalg.norm(outside, axis=1)).min()


def in_the_open(env, size=0.5):
    """Returns a place with nothing near it."""
    rng = np.random.default_rng(0)
    return next(
        place
        for _ in range(100)
        for place in env.free_space.sample(rng)
        if gap(env._world, place) > size
    )


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_odometry_is_exact_in_the_open(env, way, turn, heading):
    env.reset(seed=0)
    place = in_the_open(env)
    put(env, *place, heading)
    observation, _, _, _, info = env.step(np.array([way, turn]))
    middle = heading + 0.15 * turn
    expected = [
        *(place + 0.15 * way * np.array([np.cos(middle), np.sin(middle)])),
        heading + 0.3 * turn,
    ]
    assert observation["observation"][:2] == pytest.approx(expected[:2], abs=1e-9)
    assert observation["observation"][2:] == pytest.approx(
        [np.cos(expected[2]), np.sin(expected[2])], abs=1e-9
    )
    assert not info["violation"]


def test_the_robot_never_enters_a_wall_and_reports_collisions(env):
    rng = np.random.default_rng(0)
    num_blocked = 0
    for seed in range(5):
        env.reset(seed=seed)
        for action in np.column_stack([rng.uniform(0.3, 1.0, 50), rng.uniform(-1, 1, 50)]).repeat(
            4, axis=0
        ):
            before = env.position
            info = env.step(action)[4]
            assert gap(env._world, env.position) > RADIUS - SOFTNESS
            assert np.abs(env.position).max() < layouts.HALF_SIZE - RADIUS + SOFTNESS
            cut = 0.15 * action[0] - np.linalg.norm(env.position - before)
            assert info["violation"] or cut < 0.003
            num_blocked += info["violation"]
    assert num_blocked > 50


def test_driving_into_a_wall_is_a_violation_and_stops_the_robot(env):
    env.reset(seed=0)
    # The outer wall on the right has no door, so from somewhere along it the robot drives straight
    # into it.
    height = next(
        y for y in np.linspace(-2.5, 2.5, 51) if gap(env._world, np.array([2.8, y])) > 0.19
    )
    put(env, 2.8, height, 0.0)
    assert env.step(np.array([1.0, 0.0]))[4]["violation"]
    assert env.position[0] == pytest.approx(layouts.HALF_SIZE - RADIUS, abs=SOFTNESS)
    assert not env.step(np.array([0.0, 1.0]))[4]["violation"]
    assert env.heading == pytest.approx(0.3, abs=1e-9)
    put(env, *env.position, 0.0)
    assert not env.step(np.array([-1.0, 0.0]))[4]["violation"]
    assert env.position[0] < 2.72
    put(env, layouts.HALF_SIZE - RADIUS, height, np.pi / 4)
    info = env.step(np.array([0.5, 0.0]))[4]
    assert info["violation"]
    assert env.position[1] - height == pytest.approx(0.075 * np.sin(np.pi / 4), abs=0.003)


def test_only_the_pose_is_part_of_the_state(env):
    env.reset(seed=3)
    actions = np.random.default_rng(0).uniform([0.2, -1], 1, (20, 2)).repeat(8, axis=0)
    for action in actions:
        place, heading = env.position, env.heading
        after = env.step(action)[0]["achieved_goal"]
        here = env.snapshot()
        put(env, *place, heading)
        assert np.array_equal(env.step(action)[0]["achieved_goal"], after)
        env.restore(here)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 0.6), st.floats(-3, 3))
@settings(max_examples=100, deadline=None)
def test_success_needs_position_and_heading(env, heading, direction, offset, error):
    goal = np.array([0.5, -0.5, np.cos(heading), np.sin(heading)])
    pose = np.array(
        [
            0.5 + offset * np.cos(direction),
            -0.5 + offset * np.sin(direction),
            np.cos(heading + error),
            np.sin(heading + error),
        ]
    )
    assert heading_error(pose, goal) == pytest.approx(abs(error), abs=1e-9)
    assert env.distance(pose, goal) == pytest.approx(offset + 0.5 * abs(error), abs=1e-9)
    if min(abs(offset - 0.3), abs(np.degrees(abs(error)) - 20)) > 1e-6:
        assert env.is_success(pose, goal) == (offset < 0.3 and np.degrees(abs(error)) < 20)


def test_draws_keep_to_their_stratum_and_goals_have_a_view(env):
    for spec in episode_specs(TASK, "test", 12):
        observation, info = envs.reset_to(env, spec)
        start, goal = observation["achieved_goal"], observation["desired_goal"]
        shortest, longest = STRATA[spec.stratum]
        assert shortest < env.free_space.lengths(start[:2], goal[None, :2])[0] <= longest
        for pose in (start, goal):
            assert gap(env.draw.world, pose[:2]) > RADIUS
            ahead = pose[:2] + np.linspace(0, 1, 20)[:, None] * pose[2:]
            assert min(gap(env.draw.world, place) for place in ahead) > RADIUS
        assert not info["is_success"] and not info["violation"]
        assert info["budget"] >= 2 * info["reference_steps"] or info["budget"] == 50


def test_splits_share_no_floor_plan_and_training_has_few():
    rng = np.random.default_rng(0)
    drawn = {
        split: {layouts.draw_layout(rng, split=split)["boxes"].tobytes() for _ in range(300)}
        for split in SPLITS
    }
    assert 90 < len(drawn["train"]) <= layouts.NUM_TRAINING_LAYOUTS
    assert all(len(drawn[split]) == 300 for split in SPLITS[1:])
    assert len(set.union(*drawn.values())) == sum(map(len, drawn.values()))


def test_every_place_of_every_floor_plan_can_be_reached(env):
    rng = np.random.default_rng(0)
    for number in range(25):
        env._set_world(layouts.layout("validation", number))
        places = np.vstack([env.free_space.sample(rng) for _ in range(3)])
        assert np.isfinite(env.free_space.lengths(places[0], places)).all()
        assert len(places) > 60
        assert np.max(env.free_space.lengths(places[0], places)) > 3


def test_floor_plans_differ_in_rooms_obstacles_and_colours():
    plans = [layouts.layout("train", number) for number in range(layouts.NUM_TRAINING_LAYOUTS)]
    num_boxes = [len(plan["boxes"]) for plan in plans]
    assert min(num_boxes) >= 12 and max(num_boxes) <= 26 and len(set(num_boxes)) > 5
    for plan in plans:
        assert all(len(values) == len(plan["boxes"]) for values in plan.values())
        assert len(np.unique(plan["colours"], axis=0)) == len(plan["colours"])
        assert ((plan["colours"] >= 0) & (plan["colours"] <= 1)).all()
        walls = plan["heights"] == layouts.WALL_HEIGHT
        assert plan["round"][walls].sum() == 0
        sizes = plan["boxes"][:, 2:] - plan["boxes"][:, :2]
        assert (sizes > 0).all()
        assert sizes[plan["round"] == 1, 0] == pytest.approx(sizes[plan["round"] == 1, 1], abs=1e-9)
    assert 0.2 < np.concatenate([plan["round"][plan["heights"] < 2] for plan in plans]).mean() < 0.6


def hit_ahead(env, pitch, turn):
    """Return the geom that a ray from the camera hits."""
    hit, heading = np.zeros(1, np.int32), env.heading + turn
    eye, ray = (
        np.array([*env.position, 0.85]),
        np.array([np.cos(heading), np.sin(heading), np.tan(pitch)]),
    )
    data = env.simulation.data
    mujoco.mj_ray(env.simulation.model, data, eye, ray, None, 1, data.body("robot").id, hit)
    return int(hit[0])


def test_the_frame_shows_what_is_ahead(env):
    num_compared = 0
    for seed in range(15):
        env.reset(seed=seed)
        around = {hit_ahead(env, pitch, turn) for pitch in (-0.04, 0.04) for turn in (-0.04, 0.04)}
        if len(around) == 1:
            colour = env.simulation.model.geom_rgba[around.pop(), :3]
            seen = env._frame(65)[32, 32] / 255
            # Shading changes the brightness, not the hue.
            assert seen / seen.max() == pytest.approx(colour / colour.max(), abs=0.03)
            num_compared += 1
    assert num_compared > 8


def test_an_instance_in_other_rooms_restores_rooms_and_picture():
    first, second = (envs.make(TASK, pixels=48) for _ in range(2))
    first.reset(seed=1)
    seen = first.step(np.array([0.3, 0.4]))[0]
    second.reset(seed=2, options={"split": "test"})
    restored = second.restore(first.snapshot())
    assert all(np.array_equal(restored[key], seen[key]) for key in seen)
    again, _ = second.reset(seed=2, options={"split": "test"})
    assert not np.array_equal(again["pixels"], seen["pixels"])


def test_path_distance_is_least_at_the_goal_and_falls_along_the_way(env):
    for seed in range(4):
        observation, _ = env.reset(seed=seed, options={"stratum": "far"})
        start, goal = observation["achieved_goal"], observation["desired_goal"]
        bends = np.vstack([start[:2], env.free_space.path(start[:2], goal[:2])])
        places = np.vstack([np.linspace(a, b, 10) for a, b in itertools.pairwise(bends)])
        for turned in (0.0, np.pi):
            pose = np.tile([np.cos(turned), np.sin(turned)], (len(places), 1))
            distances = env.path_distance(np.hstack([places, pose]))
            assert (np.diff(distances) <= 1e-5).all()
        assert env.path_distance(goal) == pytest.approx(0.0, abs=1e-9)


def play(env, name, spec, num_steps):
    """Returns the poses [T + 1, 4], actions [T, 2] and violations [T]."""
    observation, _ = envs.reset_to(env, spec)
    behaviour = make_behaviour(env.task, name)
    behaviour.reset(env, np.random.default_rng(spec.planner_seed))
    poses, actions, violations = [observation["achieved_goal"]], [], []
    for _ in range(num_steps):
        actions.append(behaviour.act(observation))
        observation, _, _, _, info = env.step(actions[-1])
        poses.append(observation["achieved_goal"])
        violations.append(info["violation"])
    return np.array(poses), np.array(actions), np.array(violations)


def test_the_expert_arrives_within_the_reference_steps_without_collision(env):
    for spec in episode_specs(TASK, "test", 8):
        _, info = envs.reset_to(env, spec)
        num_steps = info["reference_steps"] + env.task.held_steps
        poses, _, violations = play(env, "expert", spec, num_steps)
        assert env.is_success(poses[-env.task.held_steps :], env._desired_goal).all(), spec
        assert not violations.any(), spec


def test_a_random_drive_uses_all_actions_and_sees_more_than_walls(env):
    actions, violations, views = [], [], []
    for spec in episode_specs(TASK, "train", 4, strata=("far",)):
        poses, taken, violated = play(env, "random", spec, 150)
        actions.append(taken)
        violations.append(violated)
        ahead = poses[:, :2] + 0.5 * poses[:, 2:]
        views.append(env.free_space.contains(ahead))
    actions = np.concatenate(actions)
    assert actions.min(axis=0) == pytest.approx([-1, -1], abs=0.3) and actions.max(
        axis=0
    ) == pytest.approx([1, 1])
    assert 0.0 < np.mean(violations) < 0.15
    assert np.mean(views) > 0.5


def test_wandering_takes_the_robot_through_doors(env):
    visited = 0
    for spec in episode_specs(TASK, "train", 3, strata=("far",)):
        poses, _, _ = play(env, "wander", spec, 200)
        start = poses[0, :2]
        visited += env.free_space.lengths(start, poses[:, :2]).max() > 3.0
    assert visited == 3
