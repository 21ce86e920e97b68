import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.splits import episode_specs

MAZES = [task.id for task in envs.list_tasks(family="maze")]


def play(env, behaviour, spec, num_steps):
    """Returns the positions [T + 1, 2] and actions [T, 2]."""
    observation, _ = envs.reset_to(env, spec)
    behaviour.reset(env, np.random.default_rng(spec.planner_seed))
    positions, actions = [observation["achieved_goal"]], []
    for _ in range(num_steps):
        actions.append(behaviour.act(observation))
        observation, *_ = env.step(actions[-1])
        positions.append(observation["achieved_goal"])
    return np.array(positions), np.array(actions)


@pytest.mark.parametrize("task_id", MAZES)
@pytest.mark.parametrize("name", ["random", "wander", "expert"])
def test_actions_are_held_for_the_steps_of_the_task(task_id, name):
    env = envs.make(task_id)
    hold = env.task.hold_steps
    _, actions = play(
        env, make_behaviour(env.task, name), episode_specs(task_id, "train", 1)[0], 6 * hold
    )
    blocks = actions.reshape(6, hold, -1)
    assert (blocks == blocks[:, :1]).all()
    assert actions.dtype == np.float32
    assert len(np.unique(blocks[:, 0], axis=0)) > 3


@pytest.mark.parametrize("task_id", MAZES)
@pytest.mark.parametrize("name", ["random", "wander"])
def test_the_same_generator_gives_the_same_behaviour(task_id, name):
    env = envs.make(task_id)
    spec = episode_specs(task_id, "train", 1)[0]
    first, second = (play(env, make_behaviour(env.task, name), spec, 100)[0] for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("task_id", MAZES)
def test_the_expert_reaches_and_holds_the_goal_within_the_reference_steps(task_id):
    env = envs.make(task_id)
    for spec in episode_specs(task_id, "test", 4):
        envs.reset_to(env, spec)
        num_steps = env.draw.reference_steps + 3
        positions, _ = play(env, make_behaviour(env.task, "expert"), spec, num_steps)
        assert env.is_success(positions[-3:], env._desired_goal).all(), spec


@pytest.mark.parametrize("name", ["random", "wander"])
def test_collecting_visits_much_of_the_two_rooms(name):
    env = envs.make("jepabench/TwoRoom-v1")
    behaviour = make_behaviour(env.task, name)
    visited = set()
    for spec in episode_specs(env.task.id, "train", 8):
        positions, _ = play(env, behaviour, spec, 250)
        visited |= {tuple(cell) for cell in np.floor(positions * 5).astype(int)}
    assert len(visited) > 80
    assert {x < 0 for x, _ in visited} == {True, False}


def test_a_random_force_keeps_the_ball_moving_and_off_the_walls():
    env = envs.make("jepabench/PointMaze-UMaze-v1")
    behaviour = make_behaviour(env.task, "random")
    speeds, free = [], []
    for spec in episode_specs(env.task.id, "train", 3):
        observation, _ = envs.reset_to(env, spec)
        behaviour.reset(env, np.random.default_rng(spec.planner_seed))
        for _ in range(300):
            action = behaviour.act(observation)
            assert env.action_space.contains(action)
            observation, *_ = env.step(action)
            speeds.append(np.linalg.norm(observation["observation"][2:]))
            free.append(env.free_space.contains(observation["achieved_goal"][None])[0])
    assert np.median(speeds) > 1.0
    assert np.mean(np.array(speeds) < 0.1) < 0.1
    assert np.mean(free) > 0.3
