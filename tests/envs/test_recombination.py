"""Tasks whose training data withhold a combination of state and action."""

from itertools import pairwise

import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.checks.scripted_rollouts import play
from jepabench.envs.core.withheld import SEEN_ACTION, SEEN_STATE, STRATA, WITHHELD, Withheld
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.data.collect import collect

TASKS = [task.id for task in envs.list_tasks(tag="recombination")]
every_task = pytest.mark.parametrize("task_id", TASKS)


def controlled_steps(task_id, behaviour, *, num_episodes=40, num_blocks=10):
    """Position before and action of each control step of training episodes, [N, P] and [N, A]."""
    env, task = envs.make(task_id), envs.get_task(task_id)
    positions, actions = [], []
    for number in range(num_episodes):
        spec = envs.EpisodeSpec(task_id, "train", STRATA[number % 3], number // 3)
        observation, _ = envs.reset_to(env, spec)
        acting = make_behaviour(task, behaviour)
        acting.reset(env, np.random.default_rng(spec.planner_seed))
        for _ in range(num_blocks * task.action_block):
            positions.append(observation["achieved_goal"])
            actions.append(acting.act(observation))
            observation = env.step(actions[-1])[0]
    return env.withheld, np.array(positions), np.array(actions)


def test_the_tasks_are_those_of_the_claim():
    assert {task.rpartition("/")[2] for task in TASKS} == {
        "TwoRoom-Recombination-v1",
        "Reach-Recombination-v1",
    }


@every_task
def test_the_data_cover_both_parts_of_what_they_never_combine(task_id):
    withheld, positions, actions = controlled_steps(task_id, "withheld")
    assert not withheld.contains(positions, actions).any()
    axis, beyond = withheld.axis, withheld.is_beyond(positions)
    far = positions[beyond, axis].max()
    quarters = np.linspace(withheld.boundary, far + 1e-9, 5)
    for low, high in pairwise(quarters):
        inside = (positions[:, axis] > low) & (positions[:, axis] <= high)
        assert inside.mean() > 0.02, "positions of the withheld combination"
        assert (inside & (actions[:, axis] > 0.0)).any()
    for fastest in (0.25, 0.5, 0.75):
        assert (~beyond & (actions[:, axis] < -fastest)).mean() > 0.01, "motion back"


@every_task
def test_random_behaviour_contains_the_withheld_combination(task_id):
    withheld, positions, actions = controlled_steps(task_id, "random", num_episodes=10)
    assert withheld.contains(positions, actions).mean() > 0.1


@every_task
def test_the_default_data_withhold_the_combination_as_their_manifest_states(task_id, tmp_path):
    made = [
        collect(
            task_id,
            tmp_path / name,
            num_episodes=6,
            num_steps=8,
            behaviour=behaviour,
            pixels=None,
            num_workers=1,
            progress=False,
        )
        for name, behaviour in (("default", None), ("full", "random"))
    ]
    assert [data.manifest.behaviour for data in made] == ["withheld", "random"]
    assert made[0].manifest.fingerprint != made[1].manifest.fingerprint
    withheld = envs.make(task_id).withheld
    shares = [
        np.mean(
            [
                withheld.contains(each.observations["achieved_goal"][:-1], each.actions).mean()
                for each in data
            ]
        )
        for data in made
    ]
    assert shares[0] == 0.0 < shares[1]


@every_task
def test_every_solution_of_a_withheld_episode_moves_back_beyond_the_boundary(task_id):
    env = envs.make(task_id)
    withheld, found = env.withheld, {}
    for stratum in STRATA:
        ends = []
        for spec in envs.episode_specs(task_id, "test", 30, strata=(stratum,)):
            observation, _ = envs.reset_to(env, spec)
            assert not env.is_success(observation["achieved_goal"], observation["desired_goal"])
            ends.append((observation["achieved_goal"], observation["desired_goal"]))
        found[stratum] = np.array(ends)
    moves = {name: (ends[:, 1] - ends[:, 0])[:, withheld.axis] for name, ends in found.items()}
    far = {name: withheld.is_beyond(ends).all() for name, ends in found.items()}
    near = {name: not withheld.is_beyond(ends).any() for name, ends in found.items()}
    assert far[WITHHELD] and far[SEEN_STATE] and near[SEEN_ACTION]
    assert (moves[WITHHELD] < 0.0).all() and (moves[SEEN_ACTION] < 0.0).all()
    assert (moves[SEEN_STATE] > 0.0).all()
    # A goal counts as reached only after a move back that is longer than the success radius allows.
    for start, goal in found[WITHHELD]:
        halfway = (start + goal) / 2.0
        assert not env.is_success(halfway, goal)
    lengths = [np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) for ends in found.values()]
    assert np.ptp([each.mean() for each in lengths]) < 0.1 * np.mean(lengths)


@every_task
def test_training_episodes_do_not_depend_on_the_strata(task_id):
    env = envs.make(task_id)
    for stratum in STRATA:
        beyond = []
        for spec in envs.episode_specs(task_id, "train", 30, strata=(stratum,)):
            observation, _ = envs.reset_to(env, spec)
            ends = np.stack([observation["achieved_goal"], observation["desired_goal"]])
            beyond.append(env.withheld.is_beyond(ends))
        assert ((np.mean(beyond, axis=0) > 0.2) & (np.mean(beyond, axis=0) < 0.8)).all()


@every_task
def test_the_expert_holds_goals_of_every_stratum(task_id):
    env = envs.make(task_id)
    assert all(play(env, spec, "expert").held for spec in envs.episode_specs(task_id, "test", 4))


def test_only_the_part_of_an_action_that_points_back_is_removed():
    withheld = Withheld(axis=1, boundary=0.5)
    back, forward = np.array([0.3, -0.4]), np.array([0.3, 0.4])
    beyond, before = np.array([0.0, 0.6]), np.array([0.0, 0.5])
    assert withheld.redirect(beyond, back).tolist() == [0.3, 0.0]
    assert withheld.redirect(before, back) is back
    assert withheld.redirect(beyond, forward) is forward
    assert back.tolist() == [0.3, -0.4]
    pairs = withheld.contains(np.stack([beyond, before]), np.stack([back, back]))
    assert pairs.tolist() == [True, False]
