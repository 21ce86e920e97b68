import warnings

import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.maze.layouts import LAYOUTS
from jepabench.envs.splits import episode_specs

TASKS = {
    "umaze": "PointMaze-UMaze-v1",
    "medium": "PointMaze-Medium-v1",
    "large": "PointMaze-Large-v1",
}


@pytest.fixture(scope="module")
def published(scratch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package's import, about other worlds of it
        maze = pytest.importorskip("gymnasium_robotics.envs.maze.point_maze")
        maps = pytest.importorskip("gymnasium_robotics.envs.maze.maps")
    layouts = {"umaze": maps.U_MAZE, "medium": maps.MEDIUM_MAZE, "large": maps.LARGE_MAZE}
    return {name: (maze.PointMazeEnv, layout) for name, layout in layouts.items()}


@pytest.mark.parametrize("name", TASKS)
def test_traces_are_those_of_gymnasium_robotics_to_the_last_bit(published, name):
    make_published, layout = published[name]
    theirs, ours = make_published(maze_map=layout), envs.make(f"jepabench/{TASKS[name]}")
    theirs.reset(seed=0)
    num_contacts = 0
    for seed in range(2):
        observation, _ = ours.reset(seed=seed)
        theirs.point_env.data.qacc_warmstart[:] = 0.0
        theirs.point_env.set_state(observation["observation"][:2], observation["observation"][2:])
        for action in (
            np.random.default_rng(seed)
            .uniform(-1, 1, (30, 2))
            .astype(np.float32)
            .repeat(25, axis=0)
        ):
            expected = theirs.step(action)[0]["observation"]
            assert np.array_equal(ours.step(action)[0]["observation"], expected)
            num_contacts += ours.simulation.data.ncon
    assert num_contacts > 100
    theirs.close()


@pytest.mark.parametrize("name", TASKS)
def test_walls_are_where_gymnasium_robotics_has_them(published, name):
    _, layout = published[name]
    assert [[cell == "#" for cell in row] for row in LAYOUTS[name].rows] == [
        [cell == 1 for cell in row] for row in layout
    ]


@pytest.mark.parametrize("name", TASKS)
def test_draws_keep_to_their_stratum_and_out_of_walls_and_zones(name):
    env = envs.make(f"jepabench/{TASKS[name]}")
    for spec in episode_specs(env.task.id, "test", 15):
        observation, info = envs.reset_to(env, spec)
        start, goal = observation["achieved_goal"], observation["desired_goal"]
        shortest, longest = LAYOUTS[name].strata[spec.stratum]
        assert shortest < env.free_space.lengths(start, goal[None])[0] <= longest
        assert env.free_space.contains(np.stack([start, goal])).all()
        for x_min, y_min, x_max, y_max in env.arena.zones:
            inside = [x_min < x < x_max and y_min < y < y_max for x, y in (start, goal)]
            assert not any(inside)
        assert not info["violation"]
        assert np.array_equal(observation["observation"][2:], [0.0, 0.0])
        assert 2 * info["reference_steps"] <= info["budget"] or info["budget"] == 50


@pytest.mark.parametrize("name", TASKS)
def test_every_default_zone_leaves_a_path_around_it(name):
    env = envs.make(f"jepabench/{TASKS[name]}")
    space = env.free_space
    with_zones = type(space)(
        bounds=space.bounds + np.array([-0.2, -0.2, 0.2, 0.2]),
        boxes=np.vstack([LAYOUTS[name].obstacle_boxes(), env.arena.zones]),
        clearance=0.12,
    )
    rng = np.random.default_rng(0)
    places = np.vstack([with_zones.sample(rng) for _ in range(3)])
    assert np.isfinite(with_zones.lengths(places[0], places)).all()


def test_a_zone_is_reported_while_the_ball_is_inside_and_does_not_stop_it():
    zone = (-0.4, -1.5, 0.4, -0.5)
    with_zone = envs.make("jepabench/PointMaze-UMaze-v1", zones=[zone])
    without = envs.make("jepabench/PointMaze-UMaze-v1", zones=[])
    for env in (with_zone, without):
        env.reset(seed=0)
        env._set_physics(env.arena.state_at(np.array([-0.9, -1.0])))
    violations = []
    for _ in range(80):
        observation, _, _, _, info = with_zone.step(np.array([1.0, 0.0]))
        assert np.array_equal(
            observation["observation"], without.step(np.array([1.0, 0.0]))[0]["observation"]
        )
        violations.append(info["violation"])
        assert info["violation"] == (zone[0] < observation["achieved_goal"][0] < zone[2])
    assert violations[0] is False and any(violations) and not violations[-1]


def test_a_violation_in_the_middle_of_a_block_is_reported():
    env = envs.make("jepabench/PointMaze-UMaze-v1", zones=[(-0.4, -1.5, -0.3, -0.5)])
    env.reset(seed=0)
    env._set_physics(env.arena.state_at(np.array([-0.9, -1.0])))
    *_, info = env.advance(np.tile([1.0, 0.0], (80, 1)))
    assert info["violation"] and not env.arena.in_zone


def test_the_force_follows_newtons_law():
    env = envs.make("jepabench/PointMaze-UMaze-v1")
    env.reset(seed=0)
    mass = 1000 * 4 / 3 * np.pi * 0.1**3
    observation = env.step(np.array([0.5, -0.25]))[0]["observation"]
    # Semi-implicit Euler with damping 1 N s/m taken implicitly.
    expected = 0.01 * np.array([50.0, -25.0]) / (mass + 0.01)
    assert observation[2:] == pytest.approx(expected, rel=1e-9)


def test_unknown_layouts_and_zones_turned_inside_out_are_refused():
    with pytest.raises(KeyError, match="Did you mean 'medium'"):
        envs.make("jepabench/PointMaze-UMaze-v1", layout="medum")
    with pytest.raises(ValueError, match="x_min, y_min, x_max, y_max"):
        envs.make("jepabench/PointMaze-UMaze-v1", zones=[(1.0, 0.0, 0.0, 1.0)])
