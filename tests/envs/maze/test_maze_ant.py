"""Test AntMaze: the published ant and maze, the gait of the expert, frames that show each leg."""

import warnings

import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.maze.ant import STANDING_HEIGHT
from jepabench.envs.splits import episode_specs

TASK = "jepabench/AntMaze-UMaze-v1"


@pytest.fixture(scope="module")
def published(scratch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package's import, about other worlds of it
        maze = pytest.importorskip("gymnasium_robotics.envs.maze.ant_maze_v5").AntMazeEnv()
    maze.reset(seed=0)
    yield maze
    maze.close()


def start(index=0, stratum="far", **kwargs):
    env = envs.make(TASK, **kwargs)
    observation, info = envs.reset_to(
        env, episode_specs(TASK, "test", index + 1, strata=(stratum,))[index]
    )
    return env, observation, info


def test_traces_are_those_of_gymnasium_robotics(published):
    theirs, num_touches = published.ant_env, 0
    for index in range(3):
        env, observation, _ = start(index)
        state = observation["observation"].copy()
        state[:2] = (-5.0, 5.0)  # in a corner, where it touches walls
        env.simulation.data.qpos[:2] = state[:2]
        theirs.set_state(state[:15], state[15:])
        theirs.data.qacc_warmstart[:] = 0.0
        for action in (
            np.random.default_rng(index)
            .uniform(-1, 1, (30, 8))
            .astype(np.float32)
            .repeat(2, axis=0)
        ):
            theirs.step(action)
            ours = env.step(action)[0]["observation"]
            expected = np.concatenate([theirs.data.qpos, theirs.data.qvel])
            assert np.abs(ours - expected).max() < 1e-9
            walls = set(np.flatnonzero(env.simulation.model.geom_size[:, 0] == 2.0))
            num_touches += any(
                walls & set(pair) for pair in env.simulation.data.contact.geom.tolist()
            )
    assert num_touches > 10


def test_walls_are_where_gymnasium_robotics_has_them(published):
    ours, theirs = start()[0].simulation.model, published.model
    boxes = [
        sorted(np.hstack([model.geom_pos, model.geom_size])[(model.geom_type == 6)].tolist())
        for model in (ours, theirs)
    ]
    assert boxes[0] == boxes[1] and len(boxes[0]) > 10


def test_an_ant_that_does_nothing_stands_still():
    env, observation, _ = start()
    for _ in range(100):
        after, *_, info = env.step(np.zeros(8))
    assert np.abs(after["observation"] - observation["observation"]).max() < 1e-3
    assert (
        after["observation"][2] == pytest.approx(STANDING_HEIGHT, abs=1e-3)
        and not info["violation"]
    )


@pytest.mark.parametrize("direction", [0.0, 0.4, 1.2, 2.9, -0.9, -2.2])
def test_the_ant_walks_in_any_direction_without_turning_over(direction):
    env, _, _ = start()
    ahead = np.array([np.cos(direction), np.sin(direction)])
    begin = np.array([4.0, 0.0]) - ahead  # in the middle of a corridor
    env._set_physics(env.arena.state_at(begin, yaw=0.3))
    for _ in range(60):
        target = env.arena.position + 5.0 * ahead
        *_, info = env.step(env.steer(target[None]))
        assert not info["violation"]
    way = env.arena.position - begin
    assert np.linalg.norm(way) > 1.0
    assert way @ ahead > 0.9 * np.linalg.norm(way)


def test_the_expert_avoids_the_wall_and_stays_at_the_goal():
    for index in range(3):
        env, observation, info = start(index)
        expert = make_behaviour(env.task, "expert")
        expert.reset(env, np.random.default_rng(0))
        for _ in range(env.draw.reference_steps):
            observation, *_, info = env.step(expert.act(observation))
        assert info["is_success"] and info["distance"] < 0.3


def test_an_ant_on_its_back_is_a_violation():
    env, _, _ = start()
    env.simulation.data.qpos[3:7] = (0.0, 1.0, 0.0, 0.0)
    env.simulation.data.qpos[2] = 0.6
    assert env.step(np.zeros(8))[4]["violation"]


def test_quarter_turn_changes_the_frame():
    env, _, _ = start(pixels=64)
    frames = []
    for yaw in (0.2, 0.2 + np.pi / 2):
        env._set_physics(env.arena.state_at(np.array([4.0, 0.0]), yaw=yaw))
        frames.append(env._frame(64).astype(int))
    blue = [np.argwhere(frame[..., 2] - frame[..., 0] > 60) for frame in frames]
    assert all(len(pixels) >= 4 for pixels in blue)
    assert np.linalg.norm(blue[0].mean(axis=0) - blue[1].mean(axis=0)) > 3.0


def test_unknown_layouts_are_refused():
    with pytest.raises(envs.UnknownNameError, match="Did you mean 'medium'"):
        envs.make(TASK, layout="mediun")
