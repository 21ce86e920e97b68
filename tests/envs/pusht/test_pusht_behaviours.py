"""Test the scripted policies of Push-T."""

import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.pusht.behaviours import RandomPushes
from jepabench.envs.pusht.expert import Expert, Surroundings, contacts
from jepabench.envs.pusht.push_t import pose_errors
from jepabench.envs.pusht.shapes import SHAPES, turned
from jepabench.envs.splits import episode_specs

TASK = "jepabench/PushT-v1"


def play(env, behaviour, seed, num_steps):
    """Returns achieved goals [num_steps, 6]."""
    env.reset(seed=seed, options={"stratum": "free"})
    behaviour.reset(env, np.random.default_rng(seed))
    return np.stack(
        [env.advance(behaviour.act({})[None])[0]["achieved_goal"] for _ in range(num_steps)]
    )


def test_random_pushes_move_the_block_in_nine_windows_of_ten():
    env = envs.make(TASK)
    goals = np.stack([play(env, RandomPushes(), seed, 120) for seed in range(12)])
    moved, turned_by = pose_errors(goals[:, :-25], goals[:, 25:])
    assert (moved > 20.0).mean() > 0.9
    assert ((moved < 20.0) & (turned_by < np.pi / 9)).mean() < 0.06
    blocks = goals[..., :2] * 100.0 + 256.0
    assert blocks.min() > 7.0 and blocks.max() < 505.0  # never squeezed through a wall
    assert blocks.std() > 50.0


def test_uniform_actions_are_uniform():
    env = envs.make(TASK)
    env.reset(seed=0)
    uniform = make_behaviour(env.task, "uniform")
    uniform.reset(env, np.random.default_rng(0))
    actions = np.stack([uniform.act({}) for _ in range(2000)])
    assert np.abs(actions.mean(axis=0)).max() < 0.05
    assert actions.std(axis=0) == pytest.approx(1 / np.sqrt(3), abs=0.03)


def test_behaviours_work_with_absolute_targets():
    env = envs.make(TASK, control="absolute")
    goals = play(env, RandomPushes(), 0, 60)
    assert pose_errors(goals[0], goals[-1])[0] > 20.0
    for name in ("uniform", "expert"):
        behaviour = make_behaviour(env.task, name)
        behaviour.reset(env, np.random.default_rng(0))
        assert env.action_space.contains(behaviour.act({}))


@pytest.mark.parametrize(
    ("task_id", "num_episodes"),
    [(TASK, 12), ("jepabench/PushObj-v1", 6), ("jepabench/PushT-RandomFriction-v1", 6)],
)
def test_the_expert_solves_free_goals_and_stays_there(task_id, num_episodes):
    env, solved = envs.make(task_id), 0
    for spec in episode_specs(task_id, "test", num_episodes, strata=("free",)):
        _, info = envs.reset_to(env, spec)
        expert, held = Expert(), 0
        expert.reset(env, np.random.default_rng(0))
        for _ in range(info["budget"]):
            info = env.step(expert.act({}))[4]
            held = held + 1 if info["is_success"] else 0
            if held == env.task.held_steps:
                break
        solved += held == env.task.held_steps
    assert solved >= 0.9 * num_episodes


def test_planning_of_expert_does_not_change_the_world():
    env = envs.make(TASK)
    env.reset(seed=0, options={"stratum": "free"})
    expert = Expert()
    expert.reset(env, np.random.default_rng(0))
    before = env.snapshot()
    expert.act({})
    assert np.array_equal(env.snapshot().physics, before.physics)
    assert env.snapshot().rng == before.rng


def test_the_expert_does_not_move_a_block_at_its_goal():
    env = envs.make(TASK)
    env.reset(seed=0, options={"stratum": "free"})
    env._set_physics(env.draw.goal)
    expert, block = Expert(), env.simulation.block
    expert.reset(env, np.random.default_rng(0))
    for _ in range(20):
        env.step(expert.act({}))
    assert env.simulation.block == block


def test_the_expert_moves_a_block_away_from_a_wall():
    env = envs.make(TASK)
    env.reset(seed=0, options={"stratum": "free"})
    env._set_physics(
        np.array([300.0, 400.0, 0.0, 0.0, 256.0, 7.5, 0.0])
    )  # the bar lies along the wall
    expert = Expert()
    expert.reset(env, np.random.default_rng(0))
    for _ in range(200):
        info = env.step(expert.act({}))[4]
    assert info["is_success"]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_contacts_are_on_the_outline_and_normals_point_outwards(shape):
    places, normals = contacts(shape)
    assert len(places) >= 16
    assert (
        shape.contains(places - 0.1 * normals).all()
        and not shape.contains(places + 0.1 * normals).any()
    )
    assert np.abs(places - 1e3 * normals).max() > 500.0


def test_paths_avoid_the_block_and_stay_in_the_workspace():
    shape, block = (
        SHAPES[0],
        (70.0, 256.0, -np.pi / 2),
    )  # the bar stands left of the stem, near the left wall
    space = Surroundings(shape, block)
    start, end = np.array([200.0, 180.0]), np.array([200.0, 330.0])
    path = space.to_world(space.path(space.to_block(tuple(start)), space.to_block(tuple(end))))
    np.testing.assert_allclose(path[-1], end)
    assert path.min() >= 0.0 and path.max() <= 512.0
    way = np.concatenate(
        [np.linspace(a, b, 50) for a, b in zip([start, *path[:-1]], path, strict=True)]
    )
    own = turned(way - np.array(block[:2]), -block[2])
    assert not shape.contains(own, margin=15.0).any()
