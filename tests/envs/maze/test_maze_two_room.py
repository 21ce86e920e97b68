import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepabench import envs
from jepabench.envs.maze.two_room import DOOR_RANGE, STRATA, WALL_RANGE, draw_layout, find_split
from jepabench.envs.splits import episode_specs
from jepabench.envs.task import SPLITS

SOFTNESS = 0.006  # contacts give way by millimetres [m]


@pytest.fixture(scope="module")
def env():
    return envs.make("jepabench/TwoRoom-v1", zones=())


def put(env, x, y):
    env.reset(seed=0)
    env._set_physics(env.arena.state_at(np.array([x, y])))


@given(st.floats(-1, 1), st.floats(-1, 1))
@settings(max_examples=40, deadline=None)
def test_a_free_ball_moves_by_its_action_times_five_centimetres(env, x, y):
    put(env, 0.5, 0.5)
    action = np.array([x, y])
    expected = 0.05 * action / max(1.0, np.linalg.norm(action))
    moved = env.step(action)[0]["achieved_goal"] - [0.5, 0.5]
    assert moved == pytest.approx(expected, abs=1e-12)


def test_the_ball_never_passes_a_wall_but_through_the_door():
    env = envs.make("jepabench/TwoRoom-Random-v1")
    rng = np.random.default_rng(0)
    crossings = 0
    for seed in range(6):
        env.reset(seed=seed)
        _, _, wall_x, door_y = env._observation()
        before = env.arena.position
        for heading in rng.uniform(-np.pi, np.pi, 60).repeat(12):
            env._step_physics(np.array([np.cos(heading), np.sin(heading)]))
            x, y = env.arena.position
            assert max(abs(x), abs(y)) < 0.94 + SOFTNESS
            in_doorway = abs(y - door_y) < 0.2
            assert in_doorway or abs(x - wall_x) > 0.05 + 0.06 - SOFTNESS
            if (before[0] - wall_x) * (x - wall_x) < 0:
                assert in_doorway
                crossings += 1
            before = env.arena.position
    assert crossings > 0


def test_the_ball_slides_along_a_wall(env):
    put(env, 0.13, -0.8)
    for _ in range(5):
        position = env.step(np.array([-0.6, 0.8]))[0]["achieved_goal"]
    assert position[1] == pytest.approx(-0.8 + 5 * 0.8 * 0.05, abs=1e-6)
    assert position[0] == pytest.approx(0.11, abs=SOFTNESS)


def test_only_the_position_is_part_of_the_state(env):
    put(env, 0.5, 0.5)
    for action in np.random.default_rng(0).uniform(-1, 1, (25, 2)).repeat(8, axis=0):
        before = env.arena.position
        after = env.step(action)[0]["achieved_goal"]
        here = env.snapshot()
        env._set_physics(env.arena.state_at(before))
        assert np.array_equal(env.step(action)[0]["achieved_goal"], after)
        env.restore(here)


def test_draws_keep_to_their_stratum_and_out_of_zones():
    env = envs.make("jepabench/TwoRoom-Random-v1")
    for spec in episode_specs(env.task.id, "validation", 20):
        observation, info = envs.reset_to(env, spec)
        start, goal = observation["achieved_goal"], observation["desired_goal"]
        shortest, longest = STRATA[spec.stratum]
        assert shortest < env.free_space.lengths(start, goal[None])[0] <= longest
        assert not info["is_success"] and not info["violation"]
        assert info["budget"] >= 2 * info["reference_steps"] or info["budget"] == 50


def test_no_cell_of_layouts_occurs_in_two_splits():
    env = envs.make("jepabench/TwoRoom-Random-v1")
    for split in SPLITS:
        layouts = []
        for seed in range(30):
            observation, _ = env.reset(seed=seed, options={"split": split})
            layouts.append(observation["observation"][2:])
        assert [find_split(layout) for layout in layouts] == [split] * len(layouts)
        low, high = np.min(layouts, axis=0), np.max(layouts, axis=0)
        assert (low >= [WALL_RANGE[0], DOOR_RANGE[0]]).all() and (
            high <= [WALL_RANGE[1], DOOR_RANGE[1]]
        ).all()
        assert (
            high - low
            > 0.5 * (np.array([WALL_RANGE[1], DOOR_RANGE[1]]) - [WALL_RANGE[0], DOOR_RANGE[0]])
        ).all()


def test_layouts_are_uniform_over_their_cells():
    rng = np.random.default_rng(0)
    train = np.array([draw_layout(rng, split="train") for _ in range(2000)])
    assert {find_split(layout) for layout in train[:200]} == {"train"}
    assert train.mean(axis=0) == pytest.approx([np.mean(WALL_RANGE), np.mean(DOOR_RANGE)], abs=0.05)


def test_an_instance_in_another_layout_restores_layout_and_picture():
    first, second = (envs.make("jepabench/TwoRoom-Random-v1", pixels=48) for _ in range(2))
    first.reset(seed=1)
    seen = first.step(np.array([0.3, 0.4]))[0]
    second.reset(seed=2)
    restored = second.restore(first.snapshot())
    assert all(np.array_equal(restored[key], seen[key]) for key in seen)
    again, _ = second.reset(seed=2)
    assert not np.array_equal(again["pixels"], seen["pixels"])


def test_the_picture_shows_the_wall_the_door_and_the_ball():
    env = envs.make("jepabench/TwoRoom-Random-v1", zones=())
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        frame = env._frame(220).astype(int)  # a centimetre a pixel
        x, y, wall_x, door_y = observation["observation"]
        red, _, blue = frame[int(110 - 100 * y), int(110 + 100 * x)]
        assert red > 2 * blue
        wall = frame[:, int(110 + 100 * wall_x)]
        assert wall[int(110 - 100 * door_y)].min() > 180
        assert wall[int(110 - 100 * (door_y - 0.3 * np.sign(door_y)))].max() < 130
