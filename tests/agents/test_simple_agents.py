"""Test the action queue and agents without training."""

from dataclasses import replace

import numpy as np
import pytest

from jepabench.agents.base import ActionQueue, HoldStillAgent, RandomAgent
from jepabench.agents.scripted import ScriptedAgent
from jepabench.envs import episode_specs, get_task

TWO_ROOM = "jepabench/TwoRoom-v1"


def test_queue_hands_out_the_distinct_actions_of_a_block_and_holds_each():
    queue = ActionQueue(task=replace(get_task(TWO_ROOM), action_block=6, actions_per_block=3))
    queue.reset(1)
    active = np.array([True])
    assert queue.empty(active) == [0]
    queue.put(0, np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]))
    taken = [queue.take(active)[0].tolist() for _ in range(6)]
    expected = [[0.1, 0.2]] * 2 + [[0.3, 0.4]] * 2 + [[0.5, 0.6]] * 2
    np.testing.assert_array_equal(np.array(taken, np.float32), np.array(expected, np.float32))
    assert queue.empty(active) == [0]


def test_queue_clips_to_the_bounds():
    queue = ActionQueue(task=get_task(TWO_ROOM))
    queue.reset(1)
    queue.put(0, np.array([[7.0, -1e9]]))
    assert queue.take(np.array([True])).tolist() == [[1.0, -1.0]]


def test_queue_keeps_episodes_apart():
    queue = ActionQueue(task=get_task(TWO_ROOM))
    queue.reset(3)
    for episode in range(3):
        queue.put(episode, np.array([[episode / 10, 0.0], [episode / 10, 0.5]]))
    for _ in range(3):
        queue.take(np.array([True, False, True]))
    assert queue.steps.tolist() == [3, 0, 3]
    assert queue.at_boundary(np.array([True, True, False])) == [1]
    for _ in range(2):
        queue.take(np.array([True, False, False]))
    assert queue.at_boundary(np.ones(3, bool)) == [0, 1] and queue.empty(np.ones(3, bool)) == []
    np.testing.assert_allclose(queue.take(np.ones(3, bool)), [[0.0, 0.5], [0.1, 0.0], [0.2, 0.0]])
    np.testing.assert_allclose(queue.last_block(0), [0.0, 0.5])


def test_an_empty_queue_raises():
    queue = ActionQueue(task=get_task(TWO_ROOM))
    queue.reset(1)
    with pytest.raises(IndexError):
        queue.take(np.array([True]))


def test_random_agent_is_uniform_over_the_bounds(play):
    specs = episode_specs(TWO_ROOM, "test", 100, strata=("near",))
    agent = RandomAgent(task_id=TWO_ROOM)
    agent.reset(specs)
    actions = np.stack([agent.act({}, np.ones(100, bool)) for _ in range(100)])
    blocks = actions.reshape(20, 5, 100, 2)
    assert (blocks == blocks[:, :1]).all()
    drawn = blocks[:, 0].ravel()
    counts, _ = np.histogram(drawn, bins=10, range=(-1, 1))
    assert counts.sum() == len(drawn)
    assert counts.min() > 0.8 * len(drawn) / 10


def test_hold_still_does_not_move(play, specs):
    actions, distances = play(HoldStillAgent(task_id=TWO_ROOM), specs, num_steps=12)
    assert not actions.any()
    np.testing.assert_allclose(distances, distances[:, :1].repeat(13, 1), atol=1e-9)


@pytest.mark.parametrize("task_id", [TWO_ROOM, "jepabench/PointMaze-UMaze-v1"])
def test_expert_reaches_the_goal(task_id, play):
    specs = episode_specs(task_id, "test", 2)
    _, distances = play(
        ScriptedAgent(task_id=task_id), specs, num_steps=get_task(task_id).max_steps // 2
    )
    limit = {TWO_ROOM: 0.1}.get(task_id, 0.45)
    assert (distances.min(1) < limit).all()


def test_unknown_behaviour_is_refused_at_once():
    with pytest.raises(KeyError, match="Did you mean 'expert'"):
        ScriptedAgent(task_id=TWO_ROOM, behaviour="expret")
