"""Test the costs of an agent, read from the folders of the stages before its evaluation."""

import json

import pytest

from jepabench.evaluation.stages.costs import sum_spent


def data(folder, fingerprint, *, frames, episodes, seconds):
    (folder / "dataset").mkdir(parents=True)
    manifest = {
        "num_frames": frames,
        "num_episodes": episodes,
        "action_block": 5,
        "fingerprint": fingerprint,
    }
    (folder / "dataset" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "done.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    return folder


def training(folder, name, **content):
    folder.mkdir(parents=True)
    whole = {"train_seconds": 10.0, "parameters": 100, **content}
    whole = {"metadata": whole} if name == "model.json" else whole
    (folder / name).write_text(json.dumps(whole), encoding="utf-8")
    return folder


@pytest.fixture
def offline(tmp_path):
    model = {"dataset_fingerprint": "a", "transitions": 1000}
    return [
        ("data/T/train", data(tmp_path / "t", "a", frames=220, episodes=20, seconds=3.0)),
        ("data/T/validation", data(tmp_path / "v", "b", frames=22, episodes=2, seconds=0.5)),
        ("model/T/jepa/0", training(tmp_path / "m", "model.json", **model)),
        ("policy/T/x/0", training(tmp_path / "p", "training.json", **model)),
    ]


def test_every_dataset_counts_once_and_collecting_takes_time(offline):
    assert sum_spent(offline).as_costs() == {
        "transitions": 200 * 5 + 20 * 5,
        "train_seconds": 3.0 + 0.5 + 2 * 10.0,
        "parameters": 200,
    }


def test_online_transitions_are_added_to_those_of_the_world_model(offline, tmp_path):
    own = training(tmp_path / "online", "training.json", transitions=30_000)
    assert sum_spent([*offline[:3], ("policy/T/sac/0", own)]).as_costs()["transitions"] == 31_100


def test_a_stored_checkpoint_counts_its_stated_costs(offline):
    assert sum_spent([offline[2]]).as_costs() == {
        "transitions": 1000,
        "train_seconds": 10.0,
        "parameters": 100,
    }


def test_tuning_counts_and_its_datasets_count_once(offline):
    tuning = {"transitions": 5000, "train_seconds": 60.0, "datasets": {"a": 1000, "c": 7}}
    costs = sum_spent(offline, tuning).as_costs()
    assert costs["transitions"] == 1000 + 100 + 7 + 5000
    assert costs["train_seconds"] == 83.5


def test_a_search_states_its_costs(offline):
    spent = sum_spent(offline)
    spent.transitions += 40
    assert spent.as_tuning() == {
        "transitions": 40,
        "train_seconds": 23.5,
        "datasets": {"a": 1000, "b": 100},
    }
    assert sum_spent([], spent.as_tuning()).as_costs()["transitions"] == 1140


def test_an_agent_without_training_costs_nothing():
    assert sum_spent([]).as_costs() == {"transitions": 0, "train_seconds": 0.0, "parameters": 0}
