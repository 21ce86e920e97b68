"""Behaviour cloning and the inverse model: what they learn from, that they learn, and that a kill changes nothing."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agents.base import HoldStillAgent
from agents.model_free import gcbc, inverse
from agents.model_free.offline import HindsightPairs, OfflineConfig, Standardise
from envs.collect import collect
from envs.episodes import Episode, write_dataset
from world_models.batches import ActionScale
from world_models.checkpoint import build_model, save_world_model

TWO_ROOM = "jepabench/TwoRoom-v1"
QUICK = {"num_steps": 400, "batch_size": 128, "hidden_size": 64, "num_layers": 2, "progress": False}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train"
    collect(TWO_ROOM, path, num_episodes=150, num_steps=12, pixels=None, num_workers=1, progress=False)
    return path


@pytest.fixture(scope="module")
def state_model(tmp_path_factory):
    """A model whose latent is the standardised state: a representation without flaw."""
    path = tmp_path_factory.mktemp("model")
    options = {"encoder": "state", "encoder_options": {"mean": [0.0] * 4, "std": [0.5, 0.5, 1.0, 1.0]}, "latent_dim": 4}
    model = build_model("jepa", options | {"action_size": 2, "observation_key": "observation"})
    scale = ActionScale(torch.zeros(2), torch.ones(2))
    save_world_model(path, kind="jepa", model=model, scale=scale, task_id=TWO_ROOM, metadata={})
    return path


def counting_episode(num_steps, first):
    """An episode whose states count its frames."""
    count = (first + np.arange(num_steps + 1, dtype=np.float64))[:, None].repeat(2, 1)
    return Episode(
        observations={"observation": count, "achieved_goal": count, "desired_goal": count},
        actions=np.ones((num_steps, 2), np.float32),
        rewards=np.zeros(num_steps, np.float32),
        violations=np.zeros(num_steps, bool),
        terminated=False,
        truncated=True,
        task_id=TWO_ROOM,
        seed=0,
    )


def test_pairs_stay_within_an_episode_and_all_of_them_occur(tmp_path):
    data = write_dataset(
        tmp_path / "data", [counting_episode(3, 100), counting_episode(1, 200), counting_episode(5, 300)]
    )
    pairs = HindsightPairs(data, max_steps=3)
    now, later, apart = pairs.sample(4000, np.random.default_rng(0))
    state = torch.from_numpy(np.array(data.field("observation")))[:, 0]
    assert torch.equal(state[later] - state[now], apart.double())
    assert set(apart.tolist()) == {1, 2, 3}
    expected = {
        (a, b)
        for low, high in ((0, 3), (4, 5), (6, 11))
        for a in range(low, high)
        for b in range(a + 1, min(high, a + 3) + 1)
    }
    assert set(zip(now.tolist(), later.tolist(), strict=True)) == expected


def test_standardise_leaves_constants_finite():
    scale = Standardise(2)
    scale.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    torch.testing.assert_close(scale(torch.tensor([2.0, 5.0])), torch.zeros(2))


def test_cloning_moves_towards_the_goal(dataset, tmp_path, play, specs):
    gcbc.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **QUICK)
    agent = gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path)
    assert agent.observation_keys == ("observation", "desired_goal")
    actions, distances = play(agent, specs, num_steps=40)
    _, still = play(HoldStillAgent(task_id=TWO_ROOM), specs, num_steps=40)
    assert (np.abs(actions) <= 1).all()
    assert distances[:, -1].mean() < 0.5 * still[:, -1].mean()


def test_inverse_model_reaches_near_goals_on_a_flawless_latent(dataset, state_model, tmp_path, play, specs):
    inverse.train(task_id=TWO_ROOM, dataset=dataset, world_model=state_model, directory=tmp_path, seed=0, **QUICK)
    agent = inverse.InverseAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=state_model)
    _, distances = play(agent, specs, num_steps=40)
    assert (distances.min(1) < 0.1).mean() > 0.8


def test_cloning_on_latents_says_so(dataset, state_model, tmp_path):
    gcbc.train(
        task_id=TWO_ROOM,
        dataset=dataset,
        directory=tmp_path,
        seed=0,
        world_model=state_model,
        **QUICK | {"num_steps": 5},
    )
    gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=state_model)
    with pytest.raises(ValueError, match="'on_latents': True"):
        gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path)
    with pytest.raises(ValueError, match="'algorithm': 'gcbc'"):
        inverse.InverseAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=state_model)


def test_reports_what_it_cost(dataset, tmp_path):
    gcbc.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=3, **QUICK | {"num_steps": 5})
    content = json.loads((tmp_path / "training.json").read_text())
    assert content["transitions"] == 150 * 12 * 5 and content["model_steps"] == 150 * 12
    weights = load_file(tmp_path / "policy.safetensors")
    trained = sum(value.numel() for name, value in weights.items() if name.startswith("network"))
    assert content["parameters"] == trained
    assert content["train_seconds"] > 0 and content["seed"] == 3


@pytest.mark.parametrize("algorithm", ["gcbc", "inverse"])
def test_a_killed_run_ends_with_the_same_weights(algorithm, dataset, state_model, tmp_path, monkeypatch):
    train = {"gcbc": gcbc.train, "inverse": inverse.train}[algorithm]
    common = {"task_id": TWO_ROOM, "dataset": dataset, "world_model": state_model, "seed": 1, **QUICK}
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
    weights = [load_file(tmp_path / name / "policy.safetensors") for name in ("whole", "again", "killed")]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]) and torch.equal(value, weights[2][name])


def test_another_seed_is_another_policy(dataset, tmp_path):
    for seed in (0, 1):
        gcbc.train(
            task_id=TWO_ROOM, dataset=dataset, directory=tmp_path / str(seed), seed=seed, **QUICK | {"num_steps": 2}
        )
    first, second = (load_file(tmp_path / name / "policy.safetensors") for name in "01")
    assert not torch.equal(first["network.0.weight"], second["network.0.weight"])


def test_refuses_data_of_another_task(dataset, tmp_path):
    with pytest.raises(ValueError, match="not of 'jepabench/PointMaze-UMaze-v1'"):
        gcbc.train(task_id="jepabench/PointMaze-UMaze-v1", dataset=dataset, directory=tmp_path, seed=0, **QUICK)


def test_a_finished_run_is_not_run_again_and_another_is_refused(dataset, tmp_path):
    few = QUICK | {"num_steps": 2}
    gcbc.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **few)
    written = (tmp_path / "policy.safetensors").stat().st_mtime_ns
    gcbc.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **few)
    assert (tmp_path / "policy.safetensors").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="holds a run with seed=0, now seed=1"):
        gcbc.train(task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=1, **few)


def test_an_unfinished_run_is_no_policy(tmp_path):
    with pytest.raises(ValueError, match="training did not finish"):
        gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path)


def test_refuses_settings_that_can_not_work():
    with pytest.raises(ValueError, match="batch_size is at least 1, got 0"):
        OfflineConfig(batch_size=0)
