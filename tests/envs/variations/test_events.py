import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.core.free_space import in_boxes
from jepabench.envs.errors import UnknownNameError
from jepabench.envs.variations.events import EventError, inject, list_events

POINT, TWO_ROOM = "jepabench/PointMaze-Medium-v1", "jepabench/TwoRoom-v1"
SEES = 96


@pytest.fixture(scope="module")
def worlds():
    return {task_id: envs.make(task_id, pixels=SEES) for task_id in (POINT, TWO_ROOM)}


@pytest.fixture(params=[POINT, TWO_ROOM])
def env(request, worlds):
    worlds[request.param].reset(seed=3)
    for _ in range(5):
        worlds[request.param].step(np.array([0.6, 0.8]))
    return worlds[request.param]


def rng(seed=0):
    return np.random.default_rng(seed)


def changed(before, after):
    return (np.abs(before["pixels"].astype(int) - after["pixels"]) > 12).any(axis=-1)


def area_of_ball(env):
    frame = env._frame(SEES).astype(int)
    return int((frame[..., 0] > frame[..., 1] + 80).sum())


def test_a_teleported_object_is_far_away_and_keeps_its_velocity(env):
    before, extent = env._observe(), env.moving_objects[0].extent
    places = set()
    for seed in range(20):
        state = env.snapshot()
        after = inject(env, "teleport", rng(seed))
        assert np.linalg.norm(after["achieved_goal"] - before["achieved_goal"]) >= 0.25 * extent
        assert env.free_space.contains(after["achieved_goal"][None]).all()
        assert np.array_equal(after["observation"][2:], before["observation"][2:])
        places.add(tuple(after["achieved_goal"]))
        env.restore(state)
    assert len(places) == 20


def test_an_object_that_passes_a_wall_lands_free_and_behind_it(env):
    for seed in range(20):
        env.reset(seed=seed)
        here = env.arena.position
        there = inject(env, "pass_wall", rng(seed))["achieved_goal"]
        line = here + np.linspace(0, 1, 500)[:, None] * (there - here)
        through = in_boxes(line, env.free_space.walls)
        assert env.free_space.contains(there[None]).all() and not env.free_space.visible(
            here, there
        )
        assert (
            through.sum() * np.linalg.norm(there - here) / 500 > 0.09
        )  # a wall of TwoRoom is 0.1 m thick


def test_a_vanished_object_is_invisible_and_keeps_moving(env):
    size = area_of_ball(env)
    state = env.snapshot()
    lawful = env.step(np.array([1.0, 0.0]))[0]
    env.restore(state)
    inject(env, "vanish", rng())
    assert size > 20 and area_of_ball(env) == 0
    assert np.array_equal(env.step(np.array([1.0, 0.0]))[0]["observation"], lawful["observation"])


def test_a_second_object_appears_far_from_the_first(env):
    size, before = area_of_ball(env), env._observe()
    after = inject(env, "appear", rng(2))
    assert area_of_ball(env) == pytest.approx(2 * size, rel=0.1)
    assert np.array_equal(after["observation"], before["observation"])
    new = changed(before, after)
    rows, columns = np.nonzero(new)
    place = (
        np.array([columns.mean() + 0.5, SEES - rows.mean() - 0.5]) / SEES - 0.5
    ) * env.arena.extent
    assert np.linalg.norm(place - before["achieved_goal"]) > 0.2 * env.moving_objects[0].extent


def test_a_recoloured_object_is_drawn_as_a_second_object():
    env = envs.make(TWO_ROOM, pixels=SEES)
    env.reset(seed=0, options={"variation": {"ball_colour": "green", "ball_size": 1.2}})
    frame = inject(env, "appear", rng())["pixels"].astype(int)
    assert area_of_ball(env) == 0
    assert int((frame[..., 1] > frame[..., 0] + 40).sum()) > 60


def test_another_shape_is_drawn_at_the_object_and_moves_like_it(env):
    before, size = env._observe(), area_of_ball(env)
    after = inject(env, "change_shape", rng())
    assert area_of_ball(env) > 1.1 * size
    rows, columns = np.nonzero(changed(before, after))
    place = (
        np.array([columns.mean() + 0.5, SEES - rows.mean() - 0.5]) / SEES - 0.5
    ) * env.arena.extent
    assert place == pytest.approx(before["achieved_goal"], abs=0.06 * env.arena.extent)
    assert np.array_equal(after["observation"], before["observation"])


@pytest.mark.parametrize("num_steps", [None, 3])
def test_a_frozen_object_stops_for_the_given_time_and_then_continues(env, num_steps):
    before = inject(env, "freeze", rng(), num_steps=num_steps)
    for _ in range(num_steps or env.task.action_block):
        seen = env.step(np.array([1.0, 0.0]))[0]
        assert np.array_equal(seen["observation"], before["observation"])
    assert not np.array_equal(
        env.step(np.array([-1.0, -0.5]))[0]["achieved_goal"], before["achieved_goal"]
    )


def test_reversed_actions_are_their_opposites_for_one_block(env):
    actions = rng().uniform(-1, 1, (env.task.action_block + 4, 2))
    opposite = (
        actions * np.where(np.arange(len(actions)) < env.task.action_block, -1.0, 1.0)[:, None]
    )
    state = env.snapshot()
    expected = [env.step(action)[0] for action in opposite]
    env.restore(state)
    inject(env, "reverse", rng())
    for action, wanted in zip(actions, expected, strict=True):
        assert env.step(action)[0]["observation"] == pytest.approx(wanted["observation"], abs=1e-12)


def test_harmless_events_change_colour_or_light_visibly(env):
    before = env._observe()["pixels"].astype(float)
    for seed in range(10):
        state = env.snapshot()
        light = inject(env, "change_light", rng(seed))["pixels"]
        assert abs(light.mean() / before.mean() - 1) > 0.1
        env.restore(state)
        inject(env, "recolour", rng(seed))
        colour = env.snapshot().world["ball_colour"]
        assert np.linalg.norm(colour - env.variations["ball_colour"].default) >= 0.4
        env.restore(state)


def test_events_can_follow_each_other(env):
    state = env.snapshot()
    for name in ("recolour", "teleport", "reverse", "vanish"):
        inject(env, name, rng())
    assert set(env.snapshot().world) - set(env.draw.world) == {
        "ball_colour",
        "reversed",
        "ball_hidden",
    }
    env.step(np.array([1.0, 0.0]))
    assert np.array_equal(env.restore(state)["pixels"], env._frame(SEES))
    assert env.snapshot().world is env.draw.world


def test_a_new_episode_has_no_events_of_the_previous_one(env):
    fresh = envs.make(env.task.id, pixels=SEES)
    for event in list_events(env.task.id):
        inject(env, event.name, rng())
    assert np.array_equal(env.reset(seed=5)[0]["pixels"], fresh.reset(seed=5)[0]["pixels"])


def test_the_order_of_controls_and_violations_is_known():
    harmless = {event.name for event in list_events(POINT) if event.harmless}
    assert harmless == {"recolour", "change_light"}
    assert all(event.description for event in list_events(POINT))


# -- mistakes and small worlds ---------------------------------------------------------------------


TINY = "tiny/Point-v0"


@pytest.fixture
def tiny_world():
    """Registered for one test only: suites over all tasks must not see it."""
    envs.get_task(f"tiny_world:{TINY}")
    yield
    del envs.registry._TASKS[TINY], gymnasium.registry[TINY], sys.modules["tiny_world"]


def test_actions_can_be_reversed_in_a_world_without_variations(tiny_world):
    assert [event.name for event in list_events(TINY)] == ["reverse"]
    env = envs.make(TINY)
    env.reset(seed=0)
    before = inject(env, "reverse", rng())["achieved_goal"]
    assert env.step(np.array([0.5, 0.0]))[0]["achieved_goal"] == pytest.approx(before - [0.05, 0.0])


def test_unknown_events_and_tasks_are_refused(env):
    with pytest.raises(UnknownNameError, match="Did you mean 'teleport'"):
        inject(env, "teleprot", rng())
    with pytest.raises(UnknownNameError, match="Did you mean"):
        list_events("jepabench/TwoRom-v1")


def test_an_event_before_the_first_reset_is_refused():
    with pytest.raises(RuntimeError, match="reset"):
        inject(envs.make(TWO_ROOM), "teleport", rng())


@pytest.mark.parametrize("name", ["teleport", "appear", "pass_wall"])
def test_an_event_without_a_position_is_refused_and_changes_nothing(name):
    env = envs.make(TWO_ROOM, pixels=SEES)
    env.reset(seed=0)
    before, state = env._observe(), env.snapshot()
    here = env.arena.position
    stuck = replace(
        env.moving_objects[0],
        sample=lambda rng: here[None],
        is_free=lambda places: np.zeros(len(places), bool),
    )
    env.moving_objects = (stuck,)
    with pytest.raises(EventError, match="no place"):
        inject(env, name, rng())
    assert np.array_equal(env._observe()["pixels"], before["pixels"])
    assert np.array_equal(env.snapshot().physics, state.physics)
