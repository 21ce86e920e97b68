"""Test the planner in the true simulator."""

import numpy as np
import pytest

from jepabench.agents.oracle import OracleMPCAgent
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.envs import episode_specs, list_tasks, make, reset_to

TWO_ROOM = "jepabench/TwoRoom-v1"
SMALL = CEMPlanner(horizon=2, num_samples=24, num_elites=6, num_iterations=2)


@pytest.mark.parametrize("task_id", [spec.id for spec in list_tasks()])
def test_imagined_goals_are_those_that_stepping_gives(task_id):
    env, rng = make(task_id), np.random.default_rng(0)
    spec = episode_specs(task_id, "train", 1)[0]
    reset_to(env, spec)
    low, high = env.action_space.low, env.action_space.high
    env.advance(rng.uniform(low, high, (3, len(low))))
    plans = rng.uniform(low, high, (4, 2, 3, len(low)))
    before = env.snapshot()
    imagined = env.imagine_goals(plans)
    assert np.array_equal(env.snapshot().physics, before.physics)
    assert env.snapshot().num_steps == before.num_steps
    for plan, goals in zip(plans, imagined, strict=True):
        env.restore(before)
        for block, goal in zip(plan, goals, strict=True):
            np.testing.assert_array_equal(env.advance(block)[0]["achieved_goal"], goal)


def test_reaches_near_goals(play, specs):
    _, distances = play(
        OracleMPCAgent(
            task_id=TWO_ROOM,
            planner=CEMPlanner(horizon=2, num_samples=32, num_elites=6, num_iterations=3),
        ),
        specs[:3],
        num_steps=25,
    )
    assert (distances[:, -3:] < 0.1).all()


def test_an_episode_does_not_depend_on_its_batch(play, specs):
    together, _ = play(
        OracleMPCAgent(task_id=TWO_ROOM, planner=SMALL),
        specs[:3],
        num_steps=15,
        stop_at=[15, 6, 15],
    )
    alone, _ = play(OracleMPCAgent(task_id=TWO_ROOM, planner=SMALL), specs[2:3], num_steps=15)
    assert np.array_equal(together[2], alone[0])


def test_counts_simulator_steps(play, specs):
    agent = OracleMPCAgent(task_id=TWO_ROOM, planner=SMALL, execute_steps=2)
    play(agent, specs[:2], num_steps=15)
    assert agent.model_steps.tolist() == [2 * (24 * 2 + 1) * 2] * 2


def test_refuses_an_unknown_time_of_the_goal_distance():
    with pytest.raises(KeyError, match="Did you mean 'terminal'"):
        OracleMPCAgent(task_id=TWO_ROOM, when="terminals")
