from dataclasses import replace

import numpy as np
import pytest
from point_world import POINT, Greedy, RandomStreams

from jepabench.agents.base import RandomAgent
from jepabench.agents.scripted import ScriptedAgent
from jepabench.envs import (
    EpisodeSpec,
    UnknownNameError,
    episode_specs,
    list_tasks,
    make,
    reset_to,
)
from jepabench.evaluation.records import records_frame
from jepabench.evaluation.rollout import (
    AgentError,
    Imagines,
    ReplayError,
    evaluate_episodes,
    replay,
)
from jepabench.evaluation.traces import episode_name

TIMED = ["planning_seconds", "planning_ms_median", "planning_ms_p95"]


@pytest.fixture
def specs():
    return episode_specs(POINT.id, "test", 3)


def untimed(evaluation):
    return records_frame(evaluation.records).drop(columns=TIMED)


def assert_same_outcomes(first, second):
    assert untimed(first).equals(untimed(second))
    assert first.actions.keys() == second.actions.keys()
    for name, actions in first.actions.items():
        np.testing.assert_array_equal(actions, second.actions[name])


@pytest.mark.parametrize("agent", [RandomStreams, Greedy])
@pytest.mark.parametrize("batch_size", [2, 4, 6, 100])
def test_outcomes_do_not_depend_on_batch_size(specs, agent, batch_size):
    one = evaluate_episodes(agent(), specs, agent_name="a")
    assert_same_outcomes(
        one, evaluate_episodes(agent(), specs, agent_name="a", batch_size=batch_size)
    )


def test_outcomes_do_not_depend_on_the_order_of_episodes(specs):
    forward = evaluate_episodes(RandomStreams(), specs, agent_name="a", batch_size=2)
    backward = evaluate_episodes(RandomStreams(), specs[::-1], agent_name="a", batch_size=2)
    assert untimed(forward).equals(untimed(backward)[::-1].reset_index(drop=True))


def test_world_runs_on_after_success_to_the_end_of_each_budget(specs):
    evaluation = evaluate_episodes(Greedy(), specs, agent_name="greedy", batch_size=6)
    frame = records_frame(evaluation.records)
    assert frame["success_ever"].all()
    assert frame.groupby("stratum")["steps"].unique().to_dict() == {"near": [50], "far": [60]}
    for record in evaluation.records:
        assert evaluation.actions[episode_name(record.stratum, record.index)].shape == (
            record.steps,
            2,
        )
        assert evaluation.actions[episode_name(record.stratum, record.index)].dtype == np.float32
        assert record.model_steps == record.steps  # nothing is counted once an episode is over


def test_records_agree_with_the_world_stepped_by_hand():
    spec = EpisodeSpec(POINT.id, "validation", "far", 7)
    evaluation = evaluate_episodes(RandomStreams(), [spec], agent_name="a", training_seed=4)
    (record,) = evaluation.records
    env = make(POINT.id)
    observation, info = reset_to(env, spec)
    distances, reached, violations, rewards = [info["distance"]], [], 0, 0.0
    for action in evaluation.actions["far/7"]:
        observation, reward, _, truncated, info = env.step(action)
        reached.append(
            np.linalg.norm(observation["achieved_goal"] - observation["desired_goal"]) < 0.1
        )
        distances.append(info["distance"])
        violations += info["violation"]
        rewards += reward
    assert truncated
    assert (record.agent, record.training_seed, record.split, record.stratum, record.index) == (
        "a",
        4,
        "validation",
        "far",
        7,
    )
    assert (record.distance_start, record.distance_final, record.distance_min) == (
        distances[0],
        distances[-1],
        min(distances),
    )
    assert (record.violations, record.return_) == (violations, rewards)
    assert record.success_ever == any(reached)
    assert record.success_final == reached[-1]
    assert record.reference_steps == 30


@pytest.mark.parametrize(
    ("flags", "ever", "final", "held", "first"),
    [
        ([0] * 50, False, False, False, -1),
        ([0, 1] * 25, True, True, False, 2),
        ([1, 1, 0] * 16 + [1, 1], True, True, False, 1),
        ([0] * 47 + [1, 1, 1], True, True, True, 48),
        ([1, 1, 1] + [0] * 47, True, False, True, 1),
        ([0] * 49 + [1], True, True, False, 50),
        ([0] * 10 + [1] * 2 + [0] * 38, True, False, False, 11),
    ],
)
def test_flags_follow_the_protocol(monkeypatch, flags, ever, final, held, first):
    import point_world

    # The rule is evaluated at reset and twice per step (reward and info): read the step counter.
    def is_success(self, achieved_goal, desired_goal):
        return np.asarray(bool(self._num_steps and flags[self._num_steps - 1]))

    monkeypatch.setattr(point_world.PointWorld, "is_success", is_success)
    spec = EpisodeSpec(POINT.id, "test", "near", 0)
    (record,) = evaluate_episodes(RandomStreams(), [spec], agent_name="a").records
    assert (record.success_ever, record.success_final, record.success_held) == (ever, final, held)
    assert record.first_success_step == first
    assert record.return_ == sum(flags) - 50
    assert (record.joint_ever, record.strict_held) == (
        ever,
        held,
    )  # a world without rules of its own


def test_the_rules_of_papers_are_recorded_beside_the_headline():
    specs = [
        replace(EpisodeSpec("jepabench/PushT-v1", "test", "free", 0), index=index)
        for index in range(6)
    ]
    records = evaluate_episodes(
        ScriptedAgent(task_id=specs[0].task_id), specs, agent_name="expert"
    ).records
    assert all(
        one.joint_ever <= one.success_ever and one.strict_held <= one.success_held
        for one in records
    )
    assert any(
        one.success_ever and not one.joint_ever for one in records
    )  # the expert leaves the pusher where it is


def test_agents_see_only_what_they_asked_for(specs):
    agent = Greedy()
    evaluate_episodes(agent, specs[:2], agent_name="a", batch_size=2)
    assert agent.seen[0] == {
        "achieved_goal": (np.float64, (2, 2)),
        "desired_goal": (np.float64, (2, 2)),
    }


@pytest.mark.parametrize("key", ["pixels", "goal_pixels"])
def test_frames_are_made_only_for_agents_that_look_at_them(specs, key):
    class Looks(RandomStreams):
        observation_keys = (key,)

        def act(self, observations, active):
            assert observations[key].shape == (1, 32, 32, 3) and observations[key].dtype == np.uint8
            return super().act(observations, active)

    with_frames = evaluate_episodes(Looks(), specs[:2], agent_name="a", pixels=32)
    assert_same_outcomes(with_frames, evaluate_episodes(RandomStreams(), specs[:2], agent_name="a"))


def test_an_agent_that_writes_into_its_observations_and_actions_changes_nothing(specs):
    class Vandal(Greedy):
        def act(self, observations, active):
            if self.seen:
                self.last[:] = 0.0
            self.last = super().act(observations, active)
            for array in observations.values():
                array[:] = 1e6
            active[:] = False
            return self.last

    honest = evaluate_episodes(Greedy(), specs, agent_name="a", batch_size=3)
    assert_same_outcomes(honest, evaluate_episodes(Vandal(), specs, agent_name="a", batch_size=3))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.full((1, 2), np.nan), "step 1.*finite"),
        (np.full((1, 2), np.inf), "step 1.*finite"),
        (np.full((1, 2), 1.01), "step 1.*within"),
        (np.zeros((2, 2)), r"shape \[1, 2\].*got \[2, 2\]"),
        (np.zeros(2), r"got \[2\]"),
        (np.zeros((1, 3)), r"got \[1, 3\]"),
        ([["left", "right"]], "not an array of numbers"),
        (None, r"not an array of numbers|got \[\]"),
    ],
)
def test_wrong_actions_are_refused_with_agent_and_episode(specs, actions, message):
    class Wrong(RandomStreams):
        def act(self, observations, active):
            return actions

    with pytest.raises(AgentError, match=message) as caught:
        evaluate_episodes(Wrong(), specs[:1], agent_name="wrong-one")
    assert "'wrong-one'" in str(caught.value) and specs[0].key in str(caught.value)


@pytest.mark.parametrize("steps", [np.zeros(3, np.int64), np.zeros(1), np.array([-1]), 7, None])
def test_wrong_model_steps_are_refused(specs, steps):
    class Wrong(RandomStreams):
        model_steps = steps

    with pytest.raises(AgentError, match="model_steps must have one count per episode"):
        evaluate_episodes(Wrong(), specs[:1], agent_name="a")


def test_unknown_observation_key_is_refused_with_a_suggestion(specs):
    class Wrong(RandomStreams):
        observation_keys = ("desired_gaol",)

    with pytest.raises(UnknownNameError, match="Did you mean 'desired_goal'"):
        evaluate_episodes(Wrong(), specs, agent_name="a")


def test_episodes_that_do_not_belong_together_are_refused(specs):
    mixed = [*specs, EpisodeSpec(POINT.id, "validation", "near", 0)]
    for wrong, message in (([], "empty"), (mixed, "same task and split"), (specs * 2, "duplicate")):
        with pytest.raises(ValueError, match=message):
            evaluate_episodes(RandomStreams(), wrong, agent_name="a")
    with pytest.raises(ValueError, match="batch_size"):
        evaluate_episodes(RandomStreams(), specs, agent_name="a", batch_size=0)


def test_planning_time_is_shared_among_active_episodes(specs, monkeypatch):
    clock = iter(np.arange(0.0, 10_000.0, 0.5))  # every call of act takes half a second
    monkeypatch.setattr("jepabench.evaluation.rollout.perf_counter", lambda: next(clock))
    evaluation = evaluate_episodes(
        RandomStreams(), [specs[0], specs[3]], agent_name="a", batch_size=2
    )
    near, far = evaluation.records
    assert near.planning_seconds == pytest.approx(50 * 0.25)
    assert far.planning_seconds == pytest.approx(50 * 0.25 + 10 * 0.5)
    assert near.planning_ms_median == pytest.approx(250)
    assert far.planning_ms_median == pytest.approx(250)
    assert far.planning_ms_p95 == pytest.approx(500)


def test_progress_is_reported_for_every_finished_episode(specs):
    finished = []
    evaluate_episodes(
        RandomStreams(), specs, agent_name="a", batch_size=4, progress=finished.append
    )
    assert finished == [1] * 6


class Dreamer(RandomStreams):
    def imagined(self, episode):
        if episode == 1:
            return None
        return np.array([0, 5]), np.full((2, 3, 8, 8, 3), 10 * episode, np.uint8)


def test_imagination_is_saved_for_episodes_that_have_it(specs):
    assert isinstance(Dreamer(), Imagines)
    assert not isinstance(RandomStreams(), Imagines)
    imagined = evaluate_episodes(Dreamer(), specs[:3], agent_name="a", batch_size=3).imagined
    assert list(imagined) == ["near/0", "near/2"]
    assert imagined["near/2"].frames.max() == 20
    assert imagined["near/0"].steps.tolist() == [0, 5]


@pytest.mark.parametrize(
    "imagined",
    [
        (np.array([0.0]), np.zeros((1, 3, 8, 8, 3), np.uint8)),
        (np.array([0]), np.zeros((1, 3, 8, 8, 3))),
        (np.array([0, 1]), np.zeros((1, 3, 8, 8, 3), np.uint8)),
        (np.array([0]), np.zeros((1, 3, 8, 8), np.uint8)),
    ],
)
def test_wrong_imagination_is_refused(specs, imagined):
    class Wrong(RandomStreams):
        def imagined(self, episode):
            return imagined

    with pytest.raises(AgentError, match=r"imagined\(\) must return steps \[P\]"):
        evaluate_episodes(Wrong(), specs[:1], agent_name="a")


@pytest.mark.parametrize("agent", [RandomStreams, Greedy])
def test_replay_agrees_exactly_with_the_records(specs, agent):
    evaluation = evaluate_episodes(agent(), specs, agent_name="a", batch_size=4)
    for spec, record in zip(specs, evaluation.records, strict=True):
        again = replay(spec, evaluation.actions[episode_name(spec.stratum, spec.index)])
        for name in again.__dataclass_fields__:
            assert getattr(again, name) == getattr(record, name), name


def test_replay_shows_the_world_at_the_start_and_after_every_step(specs):
    evaluation = evaluate_episodes(Greedy(), specs[:1], agent_name="a")
    positions = []
    outcome = replay(
        specs[0],
        evaluation.actions["near/0"],
        visit=lambda env: positions.append(env.snapshot().physics),
    )
    assert len(positions) == outcome.steps + 1
    assert not np.array_equal(positions[0], positions[-1])


def test_replay_refuses_traces_that_do_not_fit(specs):
    actions = evaluate_episodes(RandomStreams(), specs[:1], agent_name="a").actions["near/0"]
    for wrong in (actions[:-1], np.concatenate([actions, actions[:1]]), actions[:0]):
        with pytest.raises(ReplayError, match="budget is 50 control steps"):
            replay(specs[0], wrong)
    broken = actions.copy()
    broken[10, 0] = np.nan
    with pytest.raises(ReplayError, match=r"step 11.*finite"):
        replay(specs[0], broken)
    with pytest.raises(ReplayError, match="step 1"):
        replay(specs[0], np.zeros((50, 3), np.float32))


@pytest.mark.parametrize(
    "task", [task.id for task in list_tasks() if task.id.startswith("jepabench/")]
)
def test_traces_of_every_task_replay_exactly(task):
    specs = episode_specs(task, "test", 1)[:2]
    evaluation = evaluate_episodes(
        RandomAgent(task_id=task), specs, agent_name="random", batch_size=2
    )
    for spec, record in zip(specs, evaluation.records, strict=True):
        again = replay(spec, evaluation.actions[episode_name(spec.stratum, spec.index)])
        for name in again.__dataclass_fields__:
            assert getattr(again, name) == getattr(record, name), name
