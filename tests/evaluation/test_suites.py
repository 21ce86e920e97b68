import dataclasses

import pytest
from point_world import POINT

from jepabench.envs import UnknownNameError
from jepabench.evaluation.protocol import PROTOCOL_VERSION, Suite, SuiteError, SuiteTask

CONFIG = {
    "name": "tiny",
    "version": 2,
    "tasks": [{"task_id": POINT.id, "strata": ["far"], "num_episodes": 3}],
    "agents": ["random", "greedy"],
    "training_seeds": [0, 1],
}


def changed(**changes):
    return {key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}


def test_suite_from_config_is_the_suite_that_it_describes():
    suite = Suite.from_config(CONFIG)
    assert suite == Suite(
        name="tiny",
        version=2,
        tasks=(SuiteTask(task_id=POINT.id, strata=("far",), num_episodes=3),),
        agents=("random", "greedy"),
        training_seeds=(0, 1),
    )
    assert (suite.split, suite.protocol_version, suite.description) == (
        "test",
        PROTOCOL_VERSION,
        "",
    )


def test_suite_can_be_stored_as_a_mapping_and_read_again():
    suite = Suite.from_config(CONFIG)
    assert Suite.from_config(dataclasses.asdict(suite)) == suite


def test_specs_are_the_episodes_of_the_strata_and_split():
    suite = Suite.from_config(CONFIG)
    specs = suite.specs(POINT.id)
    assert [(spec.task_id, spec.split, spec.stratum, spec.index) for spec in specs] == [
        (POINT.id, "test", "far", index) for index in range(3)
    ]
    assert suite.specs(suite.tasks[0]) == specs
    assert [spec.seed for spec in Suite.from_config(changed(version=3)).specs(POINT.id)] == [
        spec.seed for spec in specs
    ]


def test_a_salt_gives_private_episodes_that_differ_from_all_others():
    suite = Suite.from_config(CONFIG)
    private = suite.specs(POINT.id, salt=b"secret")
    assert {spec.split for spec in private} == {"private"}
    assert not {spec.seed for spec in private} & {spec.seed for spec in suite.specs(POINT.id)}
    assert not {spec.seed for spec in private} & {
        spec.seed for spec in suite.specs(POINT.id, salt=b"other")
    }


def test_strata_are_all_of_the_tasks_by_default():
    assert SuiteTask(task_id=POINT.id).strata == ("near", "far")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": [{"task_id": "tests/PontWorld-v1"}]}, "Did you mean 'tests/PointWorld-v1'"),
        ({"tasks": [{"task_id": POINT.id, "strata": ["fr"]}]}, "Did you mean 'far'"),
        ({"tasks": [{"task_id": POINT.id, "episodes": 5}]}, "Did you mean 'num_episodes'"),
        ({"split": "tests"}, "Did you mean 'test'"),
        ({"agnets": []}, "key of the suite 'agnets'. Did you mean 'agents'"),
    ],
)
def test_unknown_names_are_refused_with_a_suggestion(changes, message):
    with pytest.raises(UnknownNameError, match=message):
        Suite.from_config(changed(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ...}, "lacks name"),
        ({"tasks": ..., "agents": ...}, "lacks tasks, agents"),
        ({"tasks": [{"num_episodes": 5}]}, r"tasks\[0\] of the suite lacks task_id"),
        ({"tasks": POINT.id}, "tasks of the suite must be a list of mappings"),
        ({"tasks": [POINT.id]}, "tasks of the suite must be a list of mappings"),
        ({"agents": "random"}, "agents of the suite must be a list of strings, got 'random'"),
        ({"agents": [1]}, "agents of the suite must be a list of strings"),
        (
            {"training_seeds": 3},
            "training_seeds of the suite must be a list of whole numbers, got 3",
        ),
        ({"training_seeds": [0.5]}, "list of whole numbers"),
        ({"training_seeds": [True]}, "list of whole numbers"),
        ({"version": "1"}, "version of the suite must be a whole number, got '1'"),
        ({"version": [1]}, "version of the suite must be a whole number"),
        ({"version": 0}, "version must be at least 1"),
        ({"name": "My Suite"}, "lower-case"),
        ({"name": "../elsewhere"}, "lower-case"),
        ({"agents": []}, "agents is empty"),
        ({"tasks": []}, "tasks is empty"),
        ({"training_seeds": []}, "training_seeds is empty"),
        ({"training_seeds": [-1]}, "at least 0"),
        ({"training_seeds": [0, 1, 0]}, "Training seeds are listed more than once: 0"),
        ({"agents": ["a", "a"]}, "Agents are listed more than once: a"),
        ({"tasks": CONFIG["tasks"] * 2}, "Tasks are listed more than once"),
        (
            {"tasks": [{"task_id": POINT.id, "strata": ["far", "far"]}]},
            "Strata of tests/PointWorld-v1 are listed more",
        ),
        ({"tasks": [{"task_id": POINT.id, "num_episodes": 0}]}, "num_episodes must be at least 1"),
        ({"protocol_version": 99}, "made for protocol 99"),
        ({"protocol_version": 1}, "made for protocol 1"),
        ({"private_episodes": 0}, "private_episodes must be at least 1"),
    ],
)
def test_suites_that_cannot_be_run_are_refused(changes, message):
    with pytest.raises(SuiteError, match=message):
        Suite.from_config(changed(**changes))


def test_a_value_that_is_not_a_mapping_is_refused():
    with pytest.raises(SuiteError, match="mapping"):
        Suite.from_config(["tiny"])  # type: ignore[arg-type]


def test_a_task_that_the_suite_does_not_have_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'tests/PointWorld-v1'"):
        Suite.from_config(CONFIG).specs("tests/PointWrld-v1")
