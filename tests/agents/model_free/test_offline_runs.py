"""Test the folders of offline trainings: refusals, costs, interruptions and seeds."""

import json
from importlib import import_module

import numpy as np
import pytest
import torch
from offline_episodes import QUICK, TWO_ROOM, train_on_latents
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jepabench.agents.model_free.offline import (
    gcbc,
    gciql,
    inverse,
    td3bc,
    tdmpc,
)
from jepabench.agents.model_free.offline.hindsight import (
    HindsightPairs,
)
from jepabench.agents.model_free.offline.networks import OfflineConfig
from jepabench.agents.proposals import load_proposal
from jepabench.world_models.checkpoint import fingerprint, load_world_model


def test_refuses_unknown_settings_and_missing_frames(dataset, tmp_path):
    common = {"task_id": TWO_ROOM, "dataset": dataset, "directory": tmp_path, "seed": 0}
    with pytest.raises(KeyError, match="Unknown setting of gciql 'expectil'"):
        gciql.train(**common, expectil=0.8)
    with pytest.raises(KeyError, match="Unknown field 'pixels'"):
        gciql.train(**common, pixels=True)
    with pytest.raises(ValueError, match="uses one frame, got history=2"):
        gciql.train(**common, pixels=True, history=2)


def test_cloning_on_latents_states_its_model(dataset, state_model, save_twin, tmp_path):
    train_on_latents(gcbc, tmp_path, dataset=dataset, world_model=state_model, num_steps=5)
    other = save_twin(tmp_path / "other", std=(2.0,) * 4)
    with pytest.raises(ValueError, match=f"'world_model': '{fingerprint(state_model)}'.*expected"):
        gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=other)
    with pytest.raises(ValueError, match=f"'world_model': '{fingerprint(state_model)}'.*expected"):
        scale = load_world_model(other).scale
        load_proposal(tmp_path, task_id=TWO_ROOM, world_model=other, scale=scale)
    gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=state_model)
    with pytest.raises(ValueError, match="'inputs': 'latents'"):
        gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path)
    with pytest.raises(ValueError, match="'algorithm': 'gcbc'"):
        inverse.InverseAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=state_model)


def test_latents_are_recomputed_when_the_model_changes(dataset, save_twin, tmp_path):
    few = QUICK | {"num_steps": 2}
    for name, std in (("first", 1.0), ("second", 3.0)):
        save_twin(tmp_path / "model", std=(std,) * 4)
        gcbc.train(
            task_id=TWO_ROOM,
            dataset=dataset,
            directory=tmp_path / name,
            seed=0,
            world_model=tmp_path / "model",
            **few,
        )
    first, second = (
        load_file(tmp_path / name / "policy.safetensors") for name in ("first", "second")
    )
    torch.testing.assert_close(
        first["goal_encoder.now_scale.std"][:2], 3 * second["goal_encoder.now_scale.std"][:2]
    )


def test_reports_its_cost(dataset, tmp_path):
    gcbc.train(
        task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=3, **QUICK | {"num_steps": 5}
    )
    content = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert content["transitions"] == 150 * 12 * 5 and content["model_steps"] == 150 * 12
    weights = load_file(tmp_path / "policy.safetensors")
    trained = sum(value.numel() for name, value in weights.items() if name.startswith("network"))
    assert content["parameters"] == trained
    assert content["train_seconds"] > 0 and content["seed"] == 3


@pytest.mark.parametrize("algorithm", ["gcbc", "inverse", "td3bc", "tdmpc"])
def test_a_killed_run_ends_with_the_same_weights(
    algorithm, dataset, state_model, tmp_path, monkeypatch
):
    train = {
        "gcbc": gcbc.train,
        "inverse": inverse.train,
        "td3bc": td3bc.train,
        "tdmpc": tdmpc.train,
    }[algorithm]
    common = {
        "task_id": TWO_ROOM,
        "dataset": dataset,
        "world_model": state_model,
        "seed": 1,
        **QUICK,
    }
    common |= {"num_steps": 30, "checkpoint_every": 10}
    train(directory=tmp_path / "whole", **common)
    train(directory=tmp_path / "again", **common)

    class KilledError(Exception):
        pass

    sample, calls = HindsightPairs.sample, 0

    def dies(self, *arguments):
        nonlocal calls
        calls += 1
        if calls == 25:
            raise KilledError
        return sample(self, *arguments)

    monkeypatch.setattr(HindsightPairs, "sample", dies)
    with pytest.raises(KilledError):
        train(directory=tmp_path / "killed", **common)
    assert not (tmp_path / "killed" / "training.json").exists()
    train(directory=tmp_path / "killed", **common)
    assert calls == 25 + 10
    weights = [
        load_file(tmp_path / name / "policy.safetensors") for name in ("whole", "again", "killed")
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]) and torch.equal(value, weights[2][name])


def test_another_seed_is_another_policy(dataset, tmp_path):
    for seed in (0, 1):
        gcbc.train(
            task_id=TWO_ROOM,
            dataset=dataset,
            directory=tmp_path / str(seed),
            seed=seed,
            **QUICK | {"num_steps": 2},
        )
    first, second = (load_file(tmp_path / name / "policy.safetensors") for name in "01")
    assert not torch.equal(first["network.0.weight"], second["network.0.weight"])


def test_refuses_data_of_another_task(dataset, tmp_path):
    with pytest.raises(ValueError, match="not of 'jepabench/PointMaze-UMaze-v1'"):
        gcbc.train(
            task_id="jepabench/PointMaze-UMaze-v1",
            dataset=dataset,
            directory=tmp_path,
            seed=0,
            **QUICK,
        )


def test_a_finished_run_is_not_run_again_and_another_is_refused(dataset, tmp_path):
    few = QUICK | {"num_steps": 2}
    gcbc.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **few)
    written = (tmp_path / "policy.safetensors").stat().st_mtime_ns
    gcbc.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **few)
    assert (tmp_path / "policy.safetensors").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="holds a run with seed=0, not 1"):
        gcbc.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=1, **few)


def test_unfinished_run_cannot_be_loaded_as_policy(tmp_path):
    with pytest.raises(ValueError, match="training did not finish"):
        gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path)


def test_refuses_invalid_settings():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        OfflineConfig(batch_size=0)


NAMES = {
    "crl": {"critic_loss", "actor_loss"},
    "gcbc": {"actor_loss"},
    "gciql": {"value_loss", "critic_loss", "actor_loss"},
    "gcivl": {"value_loss", "actor_loss"},
    "hiql": {"value_loss", "high_actor_loss", "low_actor_loss"},
    "inverse": {"actor_loss", "distance_loss"},
    "td3bc": {"critic_loss", "actor_loss"},
    "tdmpc": {"actor_loss", "model_loss"},
    "timed": {"actor_loss"},
}


@pytest.mark.parametrize("name", NAMES)
def test_each_loss_is_logged_under_its_name(dataset, tmp_path, name):
    method = import_module(f"jepabench.agents.model_free.offline.{name}")
    settings = QUICK | {"num_steps": 1}
    method.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **settings)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {f"train/{loss}" for loss in NAMES[name]}
    values = [events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]]
    assert np.isfinite(values).all()


def test_policies_that_older_versions_saved_are_loaded(dataset, tmp_path):
    gcbc.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **QUICK)
    path = tmp_path / "policy.safetensors"
    weights = load_file(path)
    old = {name.replace("goal_encoder.", "eyes."): value for name, value in weights.items()}
    assert old.keys() != weights.keys()
    save_file(old, path)
    policy = gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path).policy
    assert all(torch.equal(value, weights[name]) for name, value in policy.state_dict().items())
