import pickle
from dataclasses import FrozenInstanceError

import pytest

from jepabench.pipeline.config import ConfigError, load_agent, load_preset, options
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.schema import AgentPreset, Overrides, RunConfig
from jepabench.pipeline.suites import find_suite


@pytest.fixture(scope="module")
def config():
    return compose_run(["suite=core", "launcher=submitit", "pixels=48"])


def test_a_configuration_cannot_be_changed_and_can_be_sent_to_workers(config):
    for item, name in (
        (config, "pixels"),
        (config.suite, "split"),
        (config.suite.tasks[0], "strata"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(item, name, "other")
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_configuration_survives_a_file(config):
    described = config.as_config()
    assert described["suite"]["tasks"][3]["strata"] == ["near", "medium", "far"]
    assert described["pixels"] == 48 and set(described["suite"]["overrides"]) == {
        "agent",
        "data",
        "instead",
        "task",
    }
    assert RunConfig.from_config(described) == config


def test_changes_take_precedence_and_keep_the_original():
    before = Overrides(
        agent={"a": {"train": {"tau": 0.1, "gamma": 0.9}}},
        task={"T": {"agent": {"a": {"train": {"gamma": 0.5}}}}},
    )
    after = before.with_changes("agent", "a", {"train": {"tau": 0.2}})
    assert after.find("agent", "a") == {"train": {"tau": 0.2, "gamma": 0.9}}
    assert after.find("agent", "a", "T") == {"train": {"tau": 0.2, "gamma": 0.5}}
    assert before.find("agent", "a")["train"]["tau"] == 0.1
    assert before.find("data", "T") == {}


@pytest.mark.parametrize("name", options("agent"))
def test_agent_presets_have_no_redundant_keys(name):
    assert load_agent(name).as_config() == load_preset("agent", name)


def test_a_submission_is_checked_against_the_rules_of_its_suite_only():
    assert not hasattr(find_suite("quick"), "overrides")
    with pytest.raises(KeyError, match="measures surprise"):
        find_suite("surprise")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+suite.overrides.agnet={a: {}}", "Did you mean 'agent'"),
        ("suite.overrides=3", "suite.overrides must be a mapping"),
        ("+suite.overrides.agent=3", "suite.overrides.agent must be a mapping"),
        ("suite.data=3", "suite.data must be a mapping"),
        ("suite.data.num_steps=0", "suite.data.num_steps must be a whole number from 1"),
        ("suite.measure=surprises", "measure"),
        ("pixels=8", "pixels must be a whole number from 16 to 1024"),
        ("num_workers=0", "num_workers must be a whole number from 1 to 4096"),
        ("tracker=wnadb", "Did you mean 'wandb'"),
        ("+pixel=64", "Did you mean 'pixels'"),
    ],
)
def test_a_wrong_value_is_refused_when_the_configuration_is_composed(override, message):
    with pytest.raises((ConfigError, KeyError), match=message):
        compose_run(["suite=quick", override])


def test_an_agent_with_an_unknown_key_is_refused():
    preset = {**load_preset("agent", "random"), "leanrs": False}
    with pytest.raises(ConfigError, match=r"'random' has unknown keys.*leanrs"):
        AgentPreset.from_config(preset)
