"""Test the tasks of Push-T: goals, success rules, strata, splits and observations."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepabench import envs
from jepabench.envs.errors import InvalidActionError, UnknownNameError
from jepabench.envs.pusht.push_t import LOOK_AHEAD, make_goals
from jepabench.envs.pusht.shapes import (
    SHAPES,
    SHAPES_OF_SPLIT,
    TRAIN_SHAPES,
    T,
    turned,
)
from jepabench.envs.splits import episode_specs
from jepabench.envs.task import SPLITS

TASK = "jepabench/PushT-v1"
OBJECTS = "jepabench/PushObj-v1"
SLIPPERY = "jepabench/PushT-RandomFriction-v1"
TRACES = np.load(Path(__file__).parent / "pusht_traces.npz")

coordinates = st.floats(20.0, 490.0)
angles = st.floats(-10.0, 10.0)


@pytest.fixture(scope="module")
def env():
    return envs.make(TASK)


def goal_at(block, angle, pusher=(256.0, 256.0)):
    return make_goals(np.array(pusher), np.array([*block, angle]))


def placement(block, angle, pusher):
    return np.array([*pusher, 0.0, 0.0, *block, angle])


# -- success ---------------------------------------------------------------------------------------


@given(
    coordinates,
    coordinates,
    angles,
    st.floats(0.0, 40.0),
    st.floats(-3.0, 3.0),
    st.floats(-0.7, 0.7),
)
@settings(max_examples=200, deadline=None)
def test_success_is_a_pose_within_20_pixels_and_20_degrees(x, y, angle, away, heading, turn):
    env = envs.make(TASK)
    moved = goal_at(
        (x + away * math.cos(heading), y + away * math.sin(heading)),
        angle + turn,
        pusher=(0.0, 0.0),
    )
    goal = goal_at((x, y), angle)
    if abs(away - 20.0) > 1e-6 and abs(math.degrees(abs(turn)) - 20.0) > 1e-6:
        assert env.is_success(moved, goal) == (away < 20.0 and abs(math.degrees(turn)) < 20.0)
    assert env.distance(moved, goal) == pytest.approx(
        math.hypot(away, math.degrees(turn)), abs=1e-6
    )


def test_whole_turns_do_not_change_the_distance(env):
    near, far = goal_at((200.0, 200.0), 0.1 - 2 * np.pi), goal_at((200.0, 200.0), 0.1 + np.pi)
    assert env.distance(goal_at((200.0, 200.0), 0.1), near) == pytest.approx(0.0, abs=1e-6)
    assert env.distance(goal_at((200.0, 200.0), 0.1), far) == pytest.approx(180.0)


@pytest.mark.parametrize(
    ("block", "turn", "pusher", "plain", "strict", "joint"),
    [
        ((8.0, 0.0), 8.0, (5.0, 0.0), True, True, True),
        ((8.0, 0.0), 8.0, (300.0, 0.0), True, True, False),
        ((12.0, 0.0), 8.0, (12.0, 0.0), True, False, True),
        ((12.0, 0.0), 8.0, (17.0, 0.0), True, False, False),
        ((8.0, 0.0), 12.0, (0.0, 0.0), True, False, True),
        ((8.0, 0.0), 21.0, (0.0, 0.0), False, False, False),
        ((21.0, 0.0), 0.0, (0.0, 0.0), False, False, False),
    ],
)
def test_three_rules_are_reported(env, block, turn, pusher, plain, strict, joint):
    env.reset(seed=0)
    goal = env.draw.goal.copy()
    goal[4:6], goal[6], goal[:2] = (200.0, 200.0), 0.4, (400.0, 60.0)
    env._desired_goal = make_goals(goal[:2], goal[4:])
    moved = np.array([pusher[0], pusher[1], 0.0, 0.0, block[0], block[1], np.radians(turn)])
    moved[0] = -moved[0]
    env._set_physics(goal + moved)
    info = env.advance(np.empty((0, 2)))[4]
    assert (info["is_success"], info["success_strict"], info["success_joint"]) == (
        plain,
        strict,
        joint,
    )


# -- what is observed and done ---------------------------------------------------------------------


def test_observations_begin_with_the_achieved_goal_and_have_units(env):
    observation, _ = env.reset(seed=0)
    assert np.array_equal(observation["observation"][:6], observation["achieved_goal"])
    env._set_physics(placement((356.0, 156.0), np.pi / 6, (56.0, 456.0)))
    np.testing.assert_allclose(
        env._observation(), [1.0, -1.0, 0.5, np.sqrt(0.75), -2.0, 2.0, 0.0, 0.0], atol=1e-9
    )
    env.step(np.array([1.0, 0.0]))
    seen = env._observation()
    assert seen[4] > -2.0 and seen[6] > 0.5 and seen[7] == 0.0


def test_absolute_actions_replay_a_trace_of_gym_pusht():
    env = envs.make(TASK, control="absolute")
    env.reset(seed=0)
    env._set_physics(TRACES["starts"][4])
    for action in TRACES["actions"][4][:100]:
        env.step(action)
    np.testing.assert_allclose(env.simulation.placement, TRACES["states"][4][19], rtol=0, atol=1e-9)


@given(st.floats(-1, 1), st.floats(-1, 1))
@settings(max_examples=30, deadline=None)
def test_a_relative_action_is_a_target_100_pixels_around_the_pusher(x, y):
    relative, absolute = envs.make(TASK), envs.make(TASK, control="absolute")
    for env in (relative, absolute):
        env.reset(seed=1)
    at_x, at_y = relative.simulation.pusher
    relative.step(np.array([x, y]))
    absolute.step(np.clip([at_x + 100.0 * x, at_y + 100.0 * y], 0.0, 512.0))
    assert relative.simulation.pusher == pytest.approx(absolute.simulation.pusher)
    assert relative.simulation.block == pytest.approx(absolute.simulation.block)


def test_the_pusher_stays_in_the_workspace(env):
    env.reset(seed=0)
    for heading in (0.3, 2.0, 3.8, 5.5):
        for _ in range(20):
            env.step(np.array([np.cos(heading), np.sin(heading)]))
            assert 0.0 <= min(env.simulation.pusher) and max(env.simulation.pusher) <= 512.0


@pytest.mark.parametrize("control", ["relative", "absolute"])
def test_imagined_goals_are_those_of_stepping(control):
    env = envs.make(OBJECTS, control=control)
    env.reset(seed=3)
    rng, space = np.random.default_rng(0), env.action_space
    env.advance(rng.uniform(space.low, space.high, (12, 2)))
    plans = rng.uniform(space.low, space.high, (5, 3, 4, 2))
    state = env.snapshot()
    imagined = env.imagine_goals(plans)
    assert np.array_equal(env.snapshot().physics, state.physics)
    for plan, goals in zip(plans, imagined, strict=True):
        env.restore(state)
        for block, goal in zip(plan, goals, strict=True):
            assert np.array_equal(env.advance(block)[0]["achieved_goal"], goal)


def test_an_action_towards_a_position_reaches_it(env):
    env.reset(seed=0)
    for x, y in ((60.0, 60.0), (450.0, 300.0)):
        for _ in range(25):
            env.step(env.action_towards(x, y))
        assert math.dist(env.simulation.pusher, (x, y)) < 0.1
    absolute = envs.make(TASK, control="absolute")
    absolute.reset(seed=0)
    assert absolute.action_towards(700.0, 33.0).tolist() == [512.0, 33.0]


def test_an_unknown_control_and_bad_targets_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'relative'"):
        envs.make(TASK, control="relative_")
    env = envs.make(TASK, control="absolute")
    env.reset(seed=0)
    with pytest.raises(InvalidActionError):
        env.step(np.array([-1.0, 100.0]))


# -- episodes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task_id", [TASK, OBJECTS, SLIPPERY])
def test_strata_state_the_number_of_steps_to_the_goal(task_id):
    env = envs.make(task_id)
    for spec in episode_specs(task_id, "validation", 12):
        observation, info = envs.reset_to(env, spec)
        if spec.stratum in LOOK_AHEAD:
            assert info["reference_steps"] == int(spec.stratum.removeprefix("steps"))
        assert not info["is_success"]
        start, goal = env.draw.start, env.draw.goal
        assert (start[2:4] == 0.0).all() and (goal[2:4] == 0.0).all()
        corners = turned(env.simulation.shape.corners.reshape(-1, 2), goal[6]) + goal[4:6]
        assert corners.min() > 0.0 and corners.max() < 512.0
        np.testing.assert_allclose(
            observation["desired_goal"], make_goals(goal[:2], goal[4:]), rtol=0, atol=1e-9
        )


def test_mean_goal_distance_grows_with_steps_of_the_stratum():
    env, means = envs.make(TASK), []
    for stratum in ("steps25", "steps50", "steps100"):
        infos = [
            envs.reset_to(env, spec)[1]
            for spec in episode_specs(TASK, "test", 40, strata=(stratum,))
        ]
        means.append(np.mean([info["distance"] for info in infos]))
    assert means == sorted(means) and means[0] > 30.0


def test_no_shape_occurs_in_two_splits():
    assert set(SHAPES_OF_SPLIT) == set(SPLITS) and T in TRAIN_SHAPES
    of_splits = [shape.boxes for shapes in SHAPES_OF_SPLIT.values() for shape in shapes]
    assert len(set(of_splits)) == len(of_splits) == len(SHAPES)
    env = envs.make(OBJECTS)
    for split, shapes in SHAPES_OF_SPLIT.items():
        seen, salt = set(), b"salt" if split == "private" else b""
        for spec in episode_specs(OBJECTS, split, 40, strata=("free",), salt=salt):
            envs.reset_to(env, spec)
            assert env.simulation.shape is SHAPES[int(env.draw.world["shape"])]
            seen.add(env.simulation.shape)
        assert seen == set(shapes)


def test_the_observation_contains_the_shape():
    env, outlines = envs.make(OBJECTS), set()
    for spec in episode_specs(OBJECTS, "train", 60, strata=("free",)):
        observation, _ = envs.reset_to(env, spec)
        outlines.add(tuple(observation["observation"][8:]))
    assert len(outlines) == len(TRAIN_SHAPES)
    square = next(shape for shape in SHAPES if shape.name == "square")
    expected = [
        40 / max(abs(math.cos(angle)), abs(math.sin(angle))) for angle in np.arange(12) * np.pi / 6
    ]
    np.testing.assert_allclose(square.outline(12), expected)


def test_friction_is_random_and_hidden_and_changes_the_outcome():
    env, plain = envs.make(SLIPPERY), envs.make(TASK)
    frictions = []
    for seed in range(30):
        observation, _ = env.reset(seed=seed, options={"stratum": "free"})
        frictions.append(env.simulation.friction)
        assert observation["observation"].shape == (8,)
    assert 0.0 <= min(frictions) < 0.2 and 0.8 < max(frictions) <= 1.0
    assert envs.get_task(SLIPPERY).tags >= {"stochastic"}
    assert "block_friction" in plain.variations and "block_friction" not in env.variations


def test_a_world_restores_its_own_block_after_variations():
    env = envs.make(OBJECTS)
    for seed in range(6):
        env.reset(seed=seed, options={"variation": "hard"})
        assert env.simulation.friction > 0.0 and env.simulation.shape not in SHAPES
    env.reset(seed=0)
    assert env.simulation.friction == 0.0 and env.simulation.shape in SHAPES
