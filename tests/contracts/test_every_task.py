"""Test the contract of all registered tasks. New tasks need no change here."""

import tracemalloc

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import data_equivalence

from jepabench import envs
from jepabench.envs.checks.fingerprint import (
    TRACE_PIXELS,
    compute_digests_in_new_process,
    digest,
    fixed_actions,
    fixed_trace,
)
from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.errors import InvalidActionError
from jepabench.envs.splits import episode_specs
from jepabench.envs.task import SPLITS

TASKS = [task.id for task in envs.list_tasks() if task.id.startswith("jepabench/")]
PIXELS = 48
SALT = b"contract"

every_task = pytest.mark.parametrize("task_id", TASKS)


@pytest.fixture(scope="module")
def worlds():
    """One world of each task, for tests that reset it themselves."""
    return {task_id: envs.make(task_id, pixels=PIXELS) for task_id in TASKS}


@pytest.fixture(scope="module")
def elsewhere():
    """Digests of each task's fixed trace, as one other process computes them."""
    return dict(
        zip(
            TASKS,
            compute_digests_in_new_process([envs.get_task(task_id) for task_id in TASKS]),
            strict=True,
        )
    )


def one_spec_per_stratum(task_id, split="test"):
    return episode_specs(task_id, split, 1, salt=SALT if split == "private" else b"")


@every_task
def test_task_spec_is_complete(task_id):
    task = envs.get_task(task_id)
    assert task_id.rsplit("-v", 1)[1].isdigit()
    assert task.success.endswith(".") and task.description.endswith(".") and task.physics
    assert [other.description for other in envs.list_tasks()].count(task.description) == 1
    assert {"random", "expert"} <= set(task.behaviours)
    assert task.control_dt > 0 and task.max_steps >= 20


@every_task
def test_observations_are_finite_and_in_their_space(task_id, worlds):
    env = worlds[task_id]
    for spec in one_spec_per_stratum(task_id):
        observation, info = envs.reset_to(env, spec)
        assert {"is_success", "distance", "violation", "budget", "reference_steps"} <= set(info)
        for action in [None, *fixed_actions(env)[::4]]:
            if action is not None:
                observation, reward, terminated, truncated, info = env.step(action)
                assert isinstance(reward, float) and (terminated, truncated) == (False, False)
                assert {"is_success", "distance", "violation"} <= set(info)
            assert env.observation_space.contains(observation)
            assert all(np.isfinite(value).all() for value in observation.values())
            assert info["distance"] == env.distance(
                observation["achieved_goal"], observation["desired_goal"]
            )
            assert isinstance(info["violation"], bool) and isinstance(info["is_success"], bool)


@every_task
def test_two_processes_give_identical_bytes(task_id, elsewhere):
    assert digest(fixed_trace(envs.make(task_id, pixels=TRACE_PIXELS))) == elsewhere[task_id]


@every_task
def test_an_episode_depends_only_on_its_seed(task_id, worlds):
    fresh, used = envs.make(task_id, pixels=PIXELS), worlds[task_id]
    fixed_trace(used, seed=1)
    first, second = fixed_trace(fresh, seed=0), fixed_trace(used, seed=0)
    assert data_equivalence(first, second)
    assert not data_equivalence(first[0], fixed_trace(used, seed=2)[0])


@every_task
def test_a_restored_world_has_the_same_frames_and_future(task_id, worlds):
    env, other = worlds[task_id], envs.make(task_id, pixels=PIXELS)
    for spec in one_spec_per_stratum(task_id)[-1:]:
        envs.reset_to(env, spec)
        actions = fixed_actions(env)
        seen = [env.step(action)[0] for action in actions[:25]][-1]
        state = env.snapshot()
        future = [env.step(action) for action in actions[25:50]]
        for restored in (env, other):
            assert data_equivalence(restored.restore(state), seen)
            again = [restored.step(action) for action in actions[25:50]]
            assert data_equivalence(again, future)


@every_task
def test_a_snapshot_of_another_task_is_rejected(task_id, worlds):
    env, other = worlds[task_id], worlds[TASKS[TASKS.index(task_id) - 1]]
    before = envs.reset_to(env, one_spec_per_stratum(task_id)[0])[0]
    envs.reset_to(other, one_spec_per_stratum(other.task.id)[0])
    for state in (other.snapshot(), "yesterday"):
        with pytest.raises(
            ValueError, match=r"restore\(\) needs a state that snapshot\(\) of this task returned"
        ):
            env.restore(state)
        assert data_equivalence(env.advance(np.empty((0, *env.action_space.shape)))[0], before)


@every_task
def test_imagined_goals_agree_with_steps_and_leave_the_world_unchanged(task_id, worlds):
    env = worlds[task_id]
    envs.reset_to(env, one_spec_per_stratum(task_id)[0])
    hold = env.task.action_block
    plans = fixed_actions(env)[::5][:4].reshape(2, 2, 1, -1).repeat(hold, axis=2)
    state = env.snapshot()
    imagined = env.imagine_goals(plans)
    assert np.array_equal(env.snapshot().physics, state.physics)
    for plan, goals in zip(plans, imagined, strict=True):
        env.restore(state)
        for block, goal in zip(plan, goals, strict=True):
            assert env.advance(block)[0]["achieved_goal"] == pytest.approx(goal, abs=1e-12)


@every_task
def test_rewards_agree_with_vectorised_compute_reward(task_id):
    for reward in ("sparse", "dense"):
        env = envs.make(task_id, reward=reward)
        envs.reset_to(env, one_spec_per_stratum(task_id)[0])
        steps = [env.step(action) for action in fixed_actions(env)[:20]]
        achieved, desired = (
            np.stack([step[0][key] for step in steps]) for key in ("achieved_goal", "desired_goal")
        )
        rewards = env.compute_reward(achieved, desired, {})
        assert rewards.shape == (20,) and rewards.dtype == np.float64
        assert np.array_equal(rewards, [step[1] for step in steps])
        pairs = env.compute_reward(achieved[:, None], desired[None, :3], {})
        assert pairs.shape == (20, 3)
        assert (env.compute_reward(desired, desired, {}) == 0.0).all()
        assert env.is_success(desired, desired).all()


@every_task
def test_doing_nothing_never_succeeds(task_id):
    env = envs.make(task_id)
    nothing = np.zeros(env.action_space.shape).clip(env.action_space.low, env.action_space.high)
    for spec in episode_specs(task_id, "test", 3):
        _, info = envs.reset_to(env, spec)
        assert not info["is_success"]
        for _ in range(min(info["budget"], 100)):
            assert not env.step(nothing)[4]["is_success"]


@every_task
def test_draws_are_rarely_rejected(task_id, monkeypatch):
    env = envs.make(task_id)
    draws = []
    draw = env._draw_episode
    monkeypatch.setattr(
        env, "_draw_episode", lambda *args, **kwargs: draws.append(0) or draw(*args, **kwargs)
    )
    specs = episode_specs(task_id, "test", 20)
    for spec in specs:
        envs.reset_to(env, spec)
    assert len(draws) <= 1.15 * len(specs)


@every_task
def test_goal_images_differ_from_starts_and_show_solved_states(task_id, worlds):
    env = worlds[task_id]
    for spec in one_spec_per_stratum(task_id):
        observation, _ = envs.reset_to(env, spec)
        assert not np.array_equal(observation["pixels"], observation["goal_pixels"])
        assert np.array_equal(env.goal_frame(PIXELS), observation["goal_pixels"])
        assert env.goal_frame(96).shape == (96, 96, 3)
        now = env._get_physics().copy()
        env._set_physics(env.draw.goal)
        assert env.is_success(env._achieved_goal(), observation["desired_goal"])
        assert np.array_equal(env._achieved_goal(), observation["desired_goal"])
        env._set_physics(now)


@every_task
def test_no_two_splits_share_an_episode(task_id):
    env, seen = envs.make(task_id), set()
    for split in SPLITS:
        for spec in one_spec_per_stratum(task_id, split):
            envs.reset_to(env, spec)
            seen.add((env.draw.start.tobytes(), env.draw.goal.tobytes()))
    assert len(seen) == len(SPLITS) * len(env.task.strata)


@every_task
def test_private_layouts_and_shapes_occur_in_no_other_split(task_id):
    env, layouts = envs.make(task_id), {}
    for split in SPLITS:
        salt = SALT if split == "private" else b""
        layouts[split] = set()
        for spec in episode_specs(task_id, split, 4, salt=salt):
            envs.reset_to(env, spec)
            layout = env.draw.world
            layouts[split].add(str(sorted((k, v.tobytes()) for k, v in layout.items())))
    if len(set.union(*layouts.values())) > 1:
        shown = layouts["train"] | layouts["validation"] | layouts["test"]
        assert not layouts["private"] & shown


@every_task
def test_gymnasium_makes_the_same_world_from_a_spec_in_json(task_id):
    spec = gymnasium.make(task_id, pixels=32).spec
    again = gymnasium.make(EnvSpec.from_json(spec.to_json()))
    first = envs.make(task_id, pixels=32).reset(seed=3)[0]
    assert data_equivalence(again.reset(seed=3)[0], first)


@every_task
def test_reset_and_step_return_infos_with_the_same_keys_and_types(task_id):
    env = envs.make(task_id)
    _, first = envs.reset_to(env, one_spec_per_stratum(task_id)[0])
    second = env.step(fixed_actions(env)[0])[4]
    assert {k: type(v) for k, v in first.items()} == {k: type(v) for k, v in second.items()}


@every_task
def test_optional_hooks_agree_with_the_world(task_id):
    env = envs.make(task_id)
    observation, _ = envs.reset_to(env, one_spec_per_stratum(task_id)[0])
    names = env.observation_names
    assert len(set(names)) == len(names) == len(observation["observation"])
    assert names[0] != "observation 0", "a world of the suite names its quantities"
    assert np.asarray(env.zones).size % 4 == 0
    goals = np.stack([observation["achieved_goal"], observation["desired_goal"]])
    lengths = env.path_distance(goals)
    if lengths is not None:
        assert lengths.shape == (2,) and lengths[1] == pytest.approx(0.0, abs=1e-6)
        assert lengths[0] > 0.0


@every_task
def test_an_episode_is_truncated_at_its_budget(task_id):
    env = envs.make(task_id)
    _, info = envs.reset_to(env, one_spec_per_stratum(task_id)[0])
    assert info["budget"] >= 2 * info["reference_steps"] or info["budget"] == 50
    assert info["budget"] <= env.task.max_steps
    actions = np.resize(fixed_actions(env), (info["budget"], *env.action_space.shape))
    assert not env.advance(actions[:-1])[3]
    assert env.step(actions[-1])[3]


@every_task
def test_max_steps_leaves_room_for_the_longest_episode(task_id):
    env = envs.make(task_id)
    for spec in episode_specs(task_id, "test", 20, strata=env.task.strata[-1:]):
        envs.reset_to(env, spec)
        assert 2 * env.draw.reference_steps <= env.task.max_steps


@every_task
def test_invalid_actions_are_rejected_and_leave_the_world_unchanged(task_id):
    env = envs.make(task_id)
    space = env.action_space
    good = np.zeros(space.shape).clip(space.low, space.high)
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        env.step(good)
    envs.reset_to(env, one_spec_per_stratum(task_id)[0])
    before = env.snapshot()
    for bad in (
        good * np.nan,
        good + np.inf,
        space.high + 1,
        space.low - 1,
        good[1:],
        np.stack([good, good]),
    ):
        with pytest.raises(InvalidActionError, match="an action"):
            env.step(bad)
        with pytest.raises(InvalidActionError):
            env.advance(np.stack([good, bad]) if bad.shape == good.shape else bad[None])
    assert np.array_equal(env.snapshot().physics, before.physics) and env.snapshot().num_steps == 0
    env.step(space.high)


@every_task
def test_an_action_block_equals_its_control_steps(task_id, worlds):
    env, block = worlds[task_id], ActionBlock(envs.make(task_id, pixels=PIXELS))
    spec = one_spec_per_stratum(task_id)[0]
    envs.reset_to(env, spec)
    block.reset(seed=spec.seed, options=spec.options)
    chosen = fixed_actions(env)[::5][: block.num_actions]
    for action in chosen.repeat(block.hold, axis=0):
        observation, *_ = env.step(action)
    assert data_equivalence(block.step(chosen.ravel().astype(np.float64))[0], observation)


@every_task
def test_behaviours_act_within_bounds_and_are_reproducible(task_id):
    env = envs.make(task_id)
    spec = one_spec_per_stratum(task_id)[0]
    for name in env.task.behaviours:
        actions = []
        for _ in range(2):
            observation, _ = envs.reset_to(env, spec)
            behaviour = make_behaviour(env.task, name)
            behaviour.reset(env, np.random.default_rng(0))
            for _ in range(20):
                actions.append(behaviour.act(observation))
                assert env.action_space.contains(actions[-1])
                observation, *_ = env.step(actions[-1])
        assert np.array_equal(actions[:20], actions[20:])


@every_task
def test_a_world_uses_little_memory_and_does_not_leak(task_id):
    tracemalloc.start()
    env = envs.make(task_id, pixels=64)
    for spec in one_spec_per_stratum(task_id):
        envs.reset_to(env, spec)
    size, _ = tracemalloc.get_traced_memory()
    for spec in episode_specs(task_id, "train", 8):
        envs.reset_to(env, spec)
        env.advance(fixed_actions(env)[:5])
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 20e6
    assert grown - size < 1e6
