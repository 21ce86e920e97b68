import importlib.util
import tempfile

import gymnasium
import numpy as np
import pytest
from foreign_worlds import REACH

from jepabench import envs
from jepabench.envs.adapted.gymnasium_env import AdapterError, adapt
from jepabench.envs.checks.checker import check_env
from jepabench.envs.checks.scripted_rollouts import play
from jepabench.envs.errors import UnknownNameError

MAZE = "jepabench.envs.adapted.robotics:adapted/PointMaze-UMaze-v1"
CUBE = "jepabench.envs.adapted.ogbench:adapted/Cube-Single-v1"
MISSING = importlib.util.find_spec("ogbench") is None
READY = [
    MAZE,
    pytest.param(
        CUBE, marks=pytest.mark.skipif(MISSING, reason="labmaze has no wheels for Python 3.13")
    ),
]
EXPERT = {"expert": "foreign_worlds:Straight"}


def adapted(name, env_id="foreign_worlds:foreign/Square-v0", **others):
    return adapt(
        f"foreign/{name}-v0", env_id, control_dt=0.1, max_steps=60, behaviours=EXPERT, **others
    )


def flat(observation):
    return np.concatenate([np.ravel(observation[key]) for key in ("observation", "achieved_goal")])


@pytest.mark.parametrize("source", ["Square", "OnePair"])
def test_one_call_adapts_an_external_environment(source):
    card = check_env(
        adapted(f"Sound{source}", f"foreign_worlds:foreign/{source}-v0").id, num_episodes=5
    )
    assert card.passed, card.text()


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("Played", {"goal": "jepabench.envs.adapted.gymnasium_env:play"}),
        ("Dense", {"env_kwargs": {"reward": "dense"}, "success_distance": 0.2}),
    ],
)
def test_goals_of_every_kind_can_be_reached_and_replayed(name, others):
    world = envs.make(adapted(name, **others).id)
    for spec in envs.episode_specs(world.task.id, "test", 5):
        assert play(world, spec, "expert").held
        state = world.snapshot()
        after = flat(world.step(np.ones(2))[0])
        world.restore(state)
        assert np.array_equal(flat(world.step(np.ones(2))[0]), after)


def test_success_follows_the_sparse_reward_or_the_given_distance():
    goals = np.array([[0.0, 0.0], [REACH - 0.01, 0.0], [REACH + 0.01, 0.0]])
    here = np.zeros((3, 2))
    for task in (adapted("Rows"), adapted("OneByOne", "foreign_worlds:foreign/OnePair-v0")):
        world = envs.make(task.id)
        assert world.is_success(here, goals).tolist() == [True, True, False]
        assert world.is_success(here[:, None], goals[None]).shape == (3, 3)
    near = envs.make(adapted("Near", success_distance=0.05).id)
    assert near.is_success(here, goals).tolist() == [True, False, False]
    assert near.task.success == "Within 0.05 of the goal."


def test_rendered_frames_are_cropped_and_resized():
    world = envs.make(adapted("Frames").id, pixels=50)
    observation, _ = world.reset(seed=0)
    own = world.wrapped.render()
    assert own.shape == (100, 140, 3)
    middle = own[:, 20:120].reshape(50, 2, 50, 2, 3).mean(axis=(1, 3))
    assert np.abs(observation["pixels"] - middle).max() <= 0.5


def test_the_end_of_an_adapted_episode_is_a_violation_and_does_not_end_ours():
    world = envs.make(adapted("Ends").id)
    world.reset(seed=0)
    corner = np.ones(2)
    seen = [world.step(corner) for _ in range(30)]
    assert seen[-1][4]["violation"] and not any(terminated for _, _, terminated, _, _ in seen)
    assert not seen[0][4]["violation"]


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            {"env_id": "foreign_worlds:foreign/Flat-v0"},
            "a Dict with observation, achieved_goal, desired_goal",
        ),
        ({"env_id": "foreign_worlds:foreign/Buttons-v0"}, "a bounded Box with one axis"),
        ({"env_id": "foreign/Nothing-v0"}, "foreign/Nothing-v0 cannot be created"),
        ({"env_id": "no_such_package:Nothing-v0"}, r"pip install 'jepabench\[robotics,ogbench\]'"),
        ({"frames": "rays"}, "no MuJoCo model"),
        (
            {"env_id": "foreign_worlds:foreign/FailsToStart-v0"},
            r"does not start: AssertionError in .*foreign_worlds.py:\d+: assert not self.metadata",
        ),
    ],
)
def test_unsupported_environments_are_refused_with_the_reason(others, message, request):
    task = adapted(f"Refused{abs(hash(request.node.name))}", **others)
    with pytest.raises(AdapterError, match=message):
        envs.make(task.id)


def test_unknown_frames_and_camera_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'rays'"):
        envs.make(adapted("Ray", frames="ray").id)
    maze = envs.get_task(MAZE)
    with pytest.raises(UnknownNameError, match="camera"):
        envs.make(maze.id, camera="fornt")


def test_a_goal_function_that_forgets_the_seed_is_refused():
    world = envs.make(adapted("Forgets", goal="foreign_worlds:half_way").id)
    with pytest.raises(AdapterError, match="with a seed drawn from its rng"):
        world.reset(seed=0)


def published(task_id):
    world = envs.make(task_id)
    env_id, kwargs = world.task.kwargs["env_id"], world.task.kwargs["env_kwargs"]
    return world, gymnasium.make(env_id, max_episode_steps=-1, disable_env_checker=True, **kwargs)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("task_id", READY)
def test_traces_are_those_of_the_published_environment_to_the_last_bit(
    task_id, monkeypatch, tmp_path
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    world, own = published(task_id)
    world.reset(seed=4)
    seeds = np.random.default_rng(4)
    expected = own.reset(seed=int(seeds.integers(2**31)))[0]
    actions = (
        np.random.default_rng(0)
        .uniform(-1.0, 1.0, (30, *world.action_space.shape))
        .astype(np.float32)
    )
    state = world.snapshot()
    assert np.array_equal(flat(world.restore(state)), flat(expected))
    for step, action in enumerate(actions):
        observation = world.step(action)[0]
        assert np.array_equal(flat(observation), flat(own.step(action)[0])), step
        if step == 10:  # what happens in between is as if it had not been
            state = world.snapshot()
            for other in actions[:7]:
                world.step(other)
            world.restore(state)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("task_id", READY)
def test_the_expert_solves_a_world_that_is_ready_and_no_file_is_left(
    task_id, monkeypatch, tmp_path
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    world = envs.make(task_id)
    for spec in envs.episode_specs(world.task.id, "test", 2):
        assert play(world, spec, "expert").held
        assert not play(world, spec, "hold-still").ever
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("task_id", READY)
def test_ready_worlds_pass_all_checks(task_id):
    card = check_env(task_id, num_episodes=2)
    assert card.passed, card.text()
