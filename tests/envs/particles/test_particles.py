import itertools

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from jepabench import envs
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.particles import granular, rope
from jepabench.envs.particles.clouds import as_points
from jepabench.envs.particles.shapes import (
    AREAS_OF_SPLIT,
    CURVES_OF_SPLIT,
    SHAPES,
)
from jepabench.envs.particles.table import EDGE, REACH, SPEED
from jepabench.envs.splits import episode_specs
from jepabench.envs.task import SPLITS

TASKS = ("jepabench/Granular-v1", "jepabench/Rope-v1")
MODULES = {"jepabench/Granular-v1": granular, "jepabench/Rope-v1": rope}
BLADE, PEG = 0.01, 0.02  # radii of the pushers, as in the XML [m]
SOFTNESS = 0.003  # contacts give way by millimetres [m]
NO_PUSH = np.zeros(4)

every_task = pytest.mark.parametrize("task_id", TASKS)


@pytest.fixture(scope="module")
def worlds():
    return {task_id: envs.make(task_id) for task_id in TASKS}


@pytest.fixture
def chips(worlds):
    env = worlds["jepabench/Granular-v1"]
    env.reset(seed=0)
    return env


def put_away(env, *places):
    """Puts the first chips to ``places``, and all others into three rows at the upper rim."""
    num = granular.NUM_CHIPS
    index = np.arange(num)
    rest = np.stack([-0.33 + 0.03 * (index % 22), 0.26 + 0.03 * (index // 22)], axis=-1)
    rest[: len(places)] = places
    env._set_physics(env.table.state_at(rest))


def push(env, start, end):
    env.step(np.array([*start, *end]) / REACH)
    return env.table.places


def crossings(points):
    """How many pieces of the row of points cut another one."""

    def side(first, second, third):
        (a, b), (c, d) = (second - first).T, (third - first).T
        return a * d - b * c

    first, second = np.triu_indices(len(points) - 1, 2)
    a, b, c, d = points[first], points[first + 1], points[second], points[second + 1]
    return int(((side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)).sum())


def held_share(task_id, behaviour, num_episodes):
    env, solved = envs.make(task_id), []
    for spec in episode_specs(task_id, "validation", num_episodes):
        observation, info = envs.reset_to(env, spec)
        policy = make_behaviour(env.task, behaviour)
        policy.reset(env, np.random.default_rng(spec.planner_seed))
        held = 0
        for _ in range(info["budget"]):
            observation, _, _, _, info = env.step(policy.act(observation))
            held = held + 1 if info["is_success"] else 0
            if held == env.task.held_steps:
                break
        solved.append(held == env.task.held_steps)
    return np.mean(solved)


def test_blade_carries_chip_which_then_slides_on(chips):
    put_away(chips, (0.0, 0.0))
    before = chips.table.places
    after = push(chips, (-0.1, 0.02), (0.1, 0.02))
    # In front of the blade, and as far as viscous friction lets it slide from the blade's speed.
    expected = 0.1 + BLADE + granular.CHIPS.radius + SPEED * granular.CHIPS.braking_time
    assert after[0] == pytest.approx([expected, 0.0], abs=SOFTNESS)
    assert np.array_equal(after[1:], before[1:])


def test_chips_beside_and_behind_the_path_do_not_move(chips):
    half_blade = 0.08 + BLADE + granular.CHIPS.radius
    put_away(chips, (0.0, half_blade + 0.003), (-0.15, 0.0), (0.15, 0.0))
    before = chips.table.places
    assert np.array_equal(push(chips, (-0.1, 0.0), (0.1, 0.0)), before)


def test_chips_push_other_chips(chips):
    diameter = 2 * granular.CHIPS.radius
    put_away(chips, (0.0, 0.0), (diameter, 0.0), (2 * diameter, 0.0))
    after = push(chips, (-0.1, 0.0), (0.1, 0.0))
    assert np.diff(after[:3, 0]) == pytest.approx([diameter, diameter], abs=2 * SOFTNESS)
    assert after[0, 0] > 0.1


def test_lowering_the_blade_does_not_fling_chips(chips):
    put_away(chips, (0.004, 0.0), (-0.004, 0.04))
    after = push(chips, (0.0, 0.0), (0.0, 0.0201))
    assert np.abs(after[:2]).max() < 0.1


@every_task
def test_too_short_push_is_skipped(task_id, worlds):
    env = worlds[task_id]
    env.reset(seed=0)
    before = env._get_physics().copy()
    middle = env.table.places.mean(axis=0) / REACH
    for way in (0.0, 0.019 / REACH):
        env.step(np.array([*middle, middle[0] + way, middle[1]]))
        assert np.array_equal(env._get_physics(), before)


@every_task
def test_the_positions_are_the_whole_state(task_id, worlds):
    env = worlds[task_id]
    env.reset(seed=1)
    for action in np.random.default_rng(0).uniform(-1, 1, (6, 4)):
        places = env.table.places
        after = env.step(action)[0]["achieved_goal"]
        here = env.snapshot()
        env._set_physics(env.table.state_at(places))
        assert np.array_equal(env.step(action)[0]["achieved_goal"], after)
        env.restore(here)


def test_chips_stay_on_the_table_and_do_not_overlap(chips):
    rng = np.random.default_rng(0)
    for index in range(60):
        action = rng.uniform(-1, 1, 4)
        chips.step(
            np.sign(action) if index % 5 == 0 else action
        )  # now and then from corner to corner
        places = chips.table.places
        assert np.abs(places).max() < EDGE + 3 * SOFTNESS
        assert pdist(places).min() > 2 * granular.CHIPS.radius - 3 * SOFTNESS


def test_the_rope_keeps_its_length_and_never_passes_through_itself(worlds):
    env = worlds["jepabench/Rope-v1"]
    for seed, behaviour in enumerate(("random", "uniform", "random")):
        observation, _ = env.reset(seed=seed)
        policy = make_behaviour(env.task, behaviour)
        policy.reset(env, np.random.default_rng(seed))
        for _ in range(25):
            observation, *_ = env.step(policy.act(observation))
            places = as_points(observation["achieved_goal"])
            pieces = np.linalg.norm(np.diff(places, axis=0), axis=1)
            assert pieces == pytest.approx(np.full(rope.NUM_BEADS - 1, rope.SPACING), abs=SOFTNESS)
            assert crossings(places) == 0
            assert np.abs(places).max() < EDGE + SOFTNESS


def test_the_peg_bends_the_rope_and_pulls_the_rest(worlds):
    env = worlds["jepabench/Rope-v1"]
    env.reset(seed=0)
    x = rope.SPACING * (np.arange(rope.NUM_BEADS) - rope.NUM_BEADS // 2)
    env._set_physics(env.table.state_at(np.stack([0.0 * x, x], axis=-1)))
    places = push(env, (-0.1, 0.0), (0.15, 0.0))
    tip = places[rope.NUM_BEADS // 2]
    assert tip == pytest.approx([0.15 + PEG + rope.BEADS.radius, 0.0], abs=0.015)
    assert places[0, 1] > x[0] + 0.02 and places[-1, 1] < x[-1] - 0.02
    assert places[:, 0] == pytest.approx(places[::-1, 0], abs=SOFTNESS)


@every_task
def test_the_order_of_the_particles_does_not_matter(task_id, worlds):
    env = worlds[task_id]
    observation, info = env.reset(seed=3)
    achieved, desired = observation["achieved_goal"], observation["desired_goal"]
    shuffled = np.random.default_rng(0).permutation(as_points(desired)).ravel()
    assert env.distance(shuffled, desired) == 0.0 and env.is_success(shuffled, desired)
    assert env.distance(achieved, shuffled) == pytest.approx(info["distance"], rel=1e-12)


@every_task
def test_draws_keep_to_their_stratum_and_fit_on_the_table(task_id, worlds):
    env, radius = worlds[task_id], worlds[task_id].table.particles.radius
    for spec in episode_specs(task_id, "validation", 15):
        observation, info = envs.reset_to(env, spec)
        shortest, longest = MODULES[task_id].STRATA[spec.stratum]
        assert shortest < info["distance"] <= longest
        for key in ("achieved_goal", "desired_goal"):
            points = as_points(observation[key])
            assert np.abs(points).max() < REACH
            assert pdist(points).min() > 2 * radius


@every_task
def test_no_shape_occurs_in_two_splits(task_id, worlds):
    env = worlds[task_id]
    shapes = AREAS_OF_SPLIT if "Granular" in task_id else CURVES_OF_SPLIT
    for first, second in itertools.combinations(SPLITS, 2):
        assert not set(shapes[first]) & set(shapes[second])
    for split, expected in shapes.items():
        names = set()
        for seed in range(30):
            env.reset(seed=seed, options={"split": split})
            names.add(SHAPES[int(env.draw.world["shape"])])
        assert names == set(expected)


def test_a_disc_of_chips_is_round_and_as_large_as_its_chips_need():
    rng = np.random.default_rng(0)
    name, goal = "", np.empty(0)
    while name != "disc":
        name, goal = granular.draw_goal(rng, "test")
    distances = np.linalg.norm(goal - goal.mean(axis=0), axis=1)
    area_a_chip = np.sqrt(0.75) * (1.08 * 2 * granular.CHIPS.radius) ** 2
    assert distances.max() == pytest.approx(
        np.sqrt(granular.NUM_CHIPS * area_a_chip / np.pi), rel=0.12
    )


@every_task
def test_the_expert_solves_unseen_episodes_and_random_actions_do_not(task_id):
    assert held_share(task_id, "expert", 2) == 1.0
    assert held_share(task_id, "random", 1) == 0.0


@every_task
def test_random_pushes_nearly_always_move_something(task_id, worlds):
    env = worlds[task_id]
    moved = []
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        policy = make_behaviour(env.task, "random")
        policy.reset(env, np.random.default_rng(seed))
        for _ in range(15):
            before = observation["achieved_goal"]
            observation, *_ = env.step(policy.act(observation))
            moved.append(np.abs(observation["achieved_goal"] - before).max() > 0.01)
    assert np.mean(moved) > 0.85


def test_the_path_distance_of_the_rope_counts_where_each_bead_belongs(worlds):
    env = worlds["jepabench/Rope-v1"]
    observation, _ = env.reset(seed=0)
    desired = observation["desired_goal"]
    assert env.path_distance(desired) == 0.0
    assert env.path_distance(as_points(desired)[::-1].ravel()) == 0.0
    many = env.path_distance(np.stack([[desired, observation["achieved_goal"]]] * 3))
    assert (
        many.shape == (3, 2)
        and (many[:, 1] >= env.distance(observation["achieved_goal"], desired)).all()
    )


def test_a_frame_shows_each_chip_where_it_is(chips):
    put_away(chips, (0.1, -0.2), (-0.25, 0.05))
    side, width = 380, 0.76
    frame = chips._frame(side).astype(int)
    is_chip = frame[..., 0] > frame[..., 2] + 80
    for x, y in chips.table.places:
        assert is_chip[int((0.5 - y / width) * side), int((0.5 + x / width) * side)]
    expected = granular.NUM_CHIPS * np.pi * granular.CHIPS.radius**2 * (side / width) ** 2
    assert is_chip.sum() == pytest.approx(expected, rel=0.08)


def test_a_longer_braking_time_lets_chips_slide_farther(chips):
    ends = []
    for braking_time in (0.01, 0.04):
        chips.reset(seed=0, options={"variation": {"braking_time": braking_time}})
        put_away(chips, (0.0, 0.0))
        ends.append(push(chips, (-0.1, 0.0), (0.1, 0.0))[0, 0])
    assert ends[1] - ends[0] == pytest.approx(0.03 * SPEED, abs=2 * SOFTNESS)
