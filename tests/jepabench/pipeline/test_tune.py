"""Test the search: valid settings, no repeated trials, same trials after an interruption."""

import dataclasses
import importlib
import inspect
import itertools
import json
import sys

import pandas as pd
import pytest
from hydra.utils import get_method
from rich.console import Console

from jepabench.cli.benchmark.tune import search
from jepabench.pipeline.config import ConfigError, load_preset, options
from jepabench.pipeline.tuning import compose_tuning, nest, search_space, suggest
from jepabench.world_models.training.config import TrainConfig

LEARNERS = [
    name
    for name in options("agent")
    if {"train", "world_model"} & load_preset("agent", name).keys() and name != "jepa-online"
]


@pytest.mark.parametrize("name", LEARNERS)
def test_trials_are_settings_of_the_preset(name):
    preset, space = load_preset("agent", name), search_space(name)
    for path, values in space.items():
        group, section, *_, key = path.split(".")
        if group == "world_model":
            assert key in TrainConfig.__dataclass_fields__
        elif section == "train":
            assert key in _settings(preset["train"]["_target_"])
        else:
            assert key in preset["agent"]["planner"]
        assert len(values) > 1 and len({json.dumps(value) for value in values}) == len(values)


def _settings(target):
    """Return the settings of a training method and their defaults."""
    method = get_method(target)
    known = {name: one.default for name, one in inspect.signature(method).parameters.items()}
    # Methods are partials of one loop: offline with a policy class, online with the settings.
    given = [getattr(one, "config_type", one) for one in getattr(method, "args", ())]
    policies = [one for one in given if dataclasses.is_dataclass(one)]
    module = importlib.import_module(target.rpartition(".")[0])
    configs = [
        one
        for one in vars(module).values()
        if dataclasses.is_dataclass(one) and one.__module__ == module.__name__
    ]
    for config in (*policies, *configs):
        known |= {field.name: field.default for field in dataclasses.fields(config)}
    return known


@pytest.mark.parametrize("name", LEARNERS)
def test_the_first_trial_is_the_preset_itself(name):
    space = search_space(name)
    first = suggest(space, [], [], seed=0, number=0)
    train = load_preset("agent", name).get("train", {})
    defaults = _settings(train["_target_"]) if train else {}
    assert first is not None
    for path, value in first.items():
        if path.startswith("agent.train."):
            key = path.rpartition(".")[2]
            assert value == pytest.approx(train.get(key, defaults[key]))


def test_trial_settings_repeat_only_after_all_were_tried():
    space = {"agent.train.gamma": [0.95, 0.9], "agent.train.net_arch": [[64, 64], [8]]}
    rows, tried = [], []
    for number in range(4):
        changes = suggest(space, rows, tried, seed=3, number=number)
        tried.append(json.dumps(changes))
        rows.append({"changes": tried[-1], "score": float(number)})
    every = {
        json.dumps(dict(zip(space, values, strict=True)))
        for values in itertools.product(*space.values())
    }
    assert set(tried) == every
    assert suggest(space, rows, tried, seed=3, number=4) is None


def test_a_search_learns_from_its_trials():
    """A value that is always better is tried more often than by chance, which is a third."""
    space, better = {"a.b": [0, 1, 2], "a.c": list(range(8)), "a.d": list(range(8))}, 0
    for seed in (1, 2, 3):
        rows, tried = [], []
        for number in range(24):
            changes = suggest(space, rows, tried, seed=seed, number=number)
            assert changes == suggest(space, rows, tried, seed=seed, number=number)
            assert changes is not None
            tried.append(json.dumps(changes))
            rows.append({"changes": tried[-1], "score": float(changes["a.b"] == 2)})
            better += number >= 4 and changes["a.b"] == 2
    assert better > 26  # of 60


def test_dotted_settings_become_nested():
    assert nest({"agent.train.x": 1, "agent.train.y": 2, "z": 3}) == {
        "agent": {"train": {"x": 1, "y": 2}},
        "z": 3,
    }


def test_refuses_unsearchable_settings():
    with pytest.raises(ConfigError, match="one agent and one task"):
        compose_tuning(["task=tworoom", "agent=gcbc,sac-her"])
    with pytest.raises(ConfigError, match="trials must be a whole number, got 'many'"):
        compose_tuning(["task=tworoom", "agent=gcbc", "trials=many"])
    with pytest.raises(ConfigError, match="trials must be at least 1"):
        compose_tuning(["task=tworoom", "agent=gcbc", "trials=0"])
    with pytest.raises(ConfigError, match="no settings for agent 'random'"):
        search_space("random")


def test_names_the_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jepabench\[tune\]'"):
        suggest({"agent.train.gamma": [0.9, 0.95]}, [], [], seed=0, number=0)


@pytest.mark.slow
def test_a_stopped_search_resumes(tmp_path):
    words = [
        f"output={tmp_path}",
        "task=tworoom",
        "agent=gcbc",
        "num_steps=5",
        "suite.tasks.0.num_episodes=1",
        "suite.data={num_episodes: 4, num_validation: 2, num_steps: 5}",
        "num_workers=1",
    ]
    quiet = Console(quiet=True)
    config = compose_tuning([*words, "trials=2"])
    two, spent = search(config, quiet)
    # Cloning from the true state needs one dataset: 4 episodes of 5 steps of 5 control steps.
    assert list(spent["datasets"].values()) == [4 * 5 * 5]
    assert spent["transitions"] == two["evaluation_steps"].sum() > 0 and spent["train_seconds"] > 0
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("done.json")}
    config = compose_tuning([*words, "trials=3"])
    three, _ = search(config, quiet)
    pd.testing.assert_frame_equal(three.head(2), two)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert three["changes"].nunique() == 3 and set(three["transitions"]) == {4 * 5 * 5}
    policies = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in tmp_path.rglob("policies/**/training.json")
    ]
    assert {content["config"]["num_steps"] for content in policies} == {5}
    assert {content["seed"] for content in policies} == {100}
