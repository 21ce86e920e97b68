"""Test the contract of all variations and events. New ones need no change here."""

import re

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from jepabench import envs
from jepabench.envs.checks.fingerprint import fixed_actions
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.splits import EpisodeSpec
from jepabench.envs.variations.events import EVENTS, inject, list_events
from jepabench.envs.variations.factors import FROZEN

TASKS = [task.id for task in envs.list_tasks() if task.id.startswith("jepabench/")]
PIXELS = 48

every_task = pytest.mark.parametrize("task_id", TASKS)


@pytest.fixture(scope="module")
def worlds():
    """Two worlds of each task, made when they are asked for."""
    made = {}

    def pair(task_id, *, what):
        pair = made.setdefault(task_id, [envs.make(task_id, pixels=PIXELS) for _ in range(2)])
        if not (pair[0].variations.factors if what == "factors" else pair[0].moving_objects):
            pytest.skip(f"declares no {what}")
        return pair

    return pair


def start(env, variation=None):
    spec = EpisodeSpec(env.task.id, "test", env.task.strata[-1], 0)
    return envs.reset_to(env, spec, variation=variation)[0]


def play(env, num_steps=6):
    return [env.step(action) for action in fixed_actions(env)[:num_steps]]


@every_task
def test_factors_have_names_descriptions_and_levels(task_id, worlds):
    env, _ = worlds(task_id, what="factors")
    start(env)
    for factor in env.variations.factors:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", factor.name) and factor.description
        assert factor.name not in env.draw.world
        assert (factor.mild is None) == (factor.hard is None)
    assert any(factor.hard is not None for factor in env.variations.factors)


@every_task
@pytest.mark.parametrize("level", ["mild", "hard"])
def test_a_level_is_visible_reproducible_and_reversible(task_id, level, worlds):
    env, other = worlds(task_id, what="factors")
    plain = [start(env), *play(env)]
    varied = [start(env, level), *play(env)]
    assert not np.array_equal(plain[0]["pixels"], varied[0]["pixels"])
    assert not np.array_equal(varied[0]["pixels"], varied[0]["goal_pixels"])
    assert all(np.isfinite(varied[0][key]).all() for key in varied[0])
    assert data_equivalence([start(other, level), *play(other)], varied)
    assert data_equivalence([start(env), *play(env)], plain)
    assert data_equivalence([start(env, "none"), *play(env)], plain)


@every_task
def test_each_factor_has_an_effect_and_is_reversible(task_id, worlds):
    env, _ = worlds(task_id, what="factors")
    plain = start(env)
    solved = expert_states(env)
    for factor in env.variations.factors:
        if factor.hard is not None:
            varied = start(env, {factor.name: "hard"})
            assert set(env.draw.world) & {other.name for other in env.variations.factors} == {
                factor.name
            }
            if data_equivalence(varied, plain):  # not seen: then it is felt
                assert not data_equivalence(expert_states(env), solved), factor.name
    assert data_equivalence([start(env), expert_states(env)], [plain, solved])


def expert_states(env, most_steps=60):
    """What is observed when the expert acts, without frames."""
    expert, seen = (
        make_behaviour(env.task, "expert"),
        [env.advance(np.empty((0, *env.action_space.shape)), pixels=False)[0]],
    )
    expert.reset(env, np.random.default_rng(0))
    for _ in range(min(most_steps, env.draw.reference_steps)):
        seen.append(env.advance(expert.act(seen[-1])[None], pixels=False)[0])
    return seen


@every_task
def test_lasting_events_end_and_a_frozen_object_does_not_move(task_id, worlds):
    env, _ = worlds(task_id, what="moving objects")
    for event in list_events(task_id):
        if event.lasting:
            start(env)
            inject(env, event.name, np.random.default_rng(0), num_steps=3)
            motions = [[thing.get_motion() for thing in env.moving_objects]]
            for action in fixed_actions(env)[:6]:
                env.advance(action[None], pixels=False)
                motions.append([thing.get_motion() for thing in env.moving_objects])
            if event.name == "freeze":
                index = int(env.snapshot().world[FROZEN][1])
                assert all(
                    np.array_equal(motion[index], motions[0][index]) for motion in motions[:4]
                )


@every_task
def test_snapshots_carry_variations_to_other_instances(task_id, worlds):
    env, other = worlds(task_id, what="factors")
    start(env, "hard")
    seen = play(env)[-1][0]
    state = env.snapshot()
    future = play(env)
    start(other, "mild")
    for restored in (env, other):
        assert data_equivalence(restored.restore(state), seen)
        assert data_equivalence(play(restored), future)


@every_task
def test_events_are_reproducible_and_undone_by_restore(task_id, worlds):
    env, other = worlds(task_id, what="moving objects")
    start(env)
    before = play(env)[-1][0]
    state = env.snapshot()
    unhurt = play(env)
    for event in list_events(task_id):
        env.restore(state)
        after = inject(env, event.name, np.random.default_rng(0))
        disturbed = env.snapshot()
        assert disturbed.num_steps == state.num_steps
        assert np.array_equal(after["goal_pixels"], before["goal_pixels"])
        assert np.array_equal(env.goal_frame(PIXELS), before["goal_pixels"])
        future = play(env)
        assert all(np.isfinite(step[0][key]).all() for step in future for key in step[0])
        assert np.array_equal(after["pixels"], before["pixels"]) == event.lasting, event.name

        start(other)
        other.restore(state)
        assert data_equivalence(inject(other, event.name, np.random.default_rng(0)), after), (
            event.name
        )
        start(other)
        assert data_equivalence(other.restore(disturbed), after), event.name
        assert data_equivalence(play(other), future), event.name
        assert data_equivalence(env.restore(state), before), event.name
        assert data_equivalence(play(env), unhurt), event.name


@every_task
def test_harmless_changes_are_visible_and_change_only_the_frame(task_id, worlds):
    env, _ = worlds(task_id, what="moving objects")
    for event in list_events(task_id):
        if event.harmless:
            before = start(env)
            state = env.snapshot()
            lawful = play(env)
            env.restore(state)
            after = inject(env, event.name, np.random.default_rng(1))
            assert not np.array_equal(after["pixels"], before["pixels"])
            for (seen, reward, *_), (expected, expected_reward, *_) in zip(
                play(env), lawful, strict=True
            ):
                assert (
                    np.array_equal(seen["observation"], expected["observation"])
                    and reward == expected_reward
                )


def test_the_mazes_have_all_events_and_factors():
    for task in envs.list_tasks(family="maze"):
        assert [event.name for event in list_events(task.id)] == [event.name for event in EVENTS]
        env = envs.make(task.id)
        expected = {"floor_colour", "wall_colour", "light", "camera_roll", "distractors"}
        for thing in env.moving_objects:
            expected |= {
                f"{thing.name}_colour",
                f"{thing.name}_size" if thing.name == "ball" else f"{thing.name}_mass",
            }
        assert expected <= {factor.name for factor in env.variations.factors}
