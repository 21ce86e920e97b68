"""Stable-Baselines3 on our tasks: training episodes, exact resumption, and what is left behind."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3.common.env_checker import check_env

from agents.model_free import online, ppo, sac
from agents.model_free.online import TrainingEpisodes
from envs import EpisodeSpec, get_task

TWO_ROOM = "jepabench/TwoRoom-v1"
RUNS = {
    "sac": (
        sac.train,
        sac.SACAgent,
        {"num_steps": 192, "checkpoint_every": 96, "learning_starts": 64, "batch_size": 16, "net_arch": (16,)},
    ),
    "ppo": (
        ppo.train,
        ppo.PPOAgent,
        {
            "num_steps": 128,
            "checkpoint_every": 64,
            "num_envs": 2,
            "rollout_steps": 16,
            "batch_size": 16,
            "num_epochs": 2,
        },
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    for name, (train, _, settings) in RUNS.items():
        train(task_id=TWO_ROOM, directory=folder / name, seed=0, progress=False, **settings)
    return folder


def parameters(folder):
    return load_file(folder / "policy.safetensors")


def test_training_episodes_are_of_the_train_split_and_go_through_the_strata(monkeypatch):
    met: list[EpisodeSpec] = []
    reset_to = online.reset_to
    monkeypatch.setattr(online, "reset_to", lambda env, spec: (met.append(spec), reset_to(env, spec))[1])
    env = TrainingEpisodes(get_task(TWO_ROOM), reward="sparse")
    env.reset(seed=5)
    for _ in range(5):
        env.reset()
    env.reset(seed=5)
    assert {spec.split for spec in met} == {"train"}
    assert [spec.stratum for spec in met] == ["near", "medium", "far"] * 2 + ["near"]
    assert len({spec.seed for spec in met[:6]}) == 6
    assert met[6] == met[0]


@pytest.mark.filterwarnings("ignore:.*(ndarray|Box|float64|normalize|symmetric).*:UserWarning")
def test_training_world_passes_the_check_of_stable_baselines():
    check_env(TrainingEpisodes(get_task(TWO_ROOM), reward="sparse"))


@pytest.mark.parametrize("name", RUNS)
def test_reports_what_it_cost(name, trained):
    content = json.loads((trained / name / "training.json").read_text())
    steps = RUNS[name][2]["num_steps"]
    assert content["model_steps"] == steps and content["transitions"] == 5 * steps
    assert content["algorithm"] == name and content["task_id"] == TWO_ROOM
    assert content["train_seconds"] > 0 and content["parameters"] > 100
    assert not list((trained / name).glob("*checkpoint*"))


@pytest.mark.parametrize("name", RUNS)
def test_the_same_seed_gives_the_same_policy(name, trained, tmp_path):
    train, _, settings = RUNS[name]
    train(task_id=TWO_ROOM, directory=tmp_path, seed=0, progress=False, **settings)
    first, again = parameters(trained / name), parameters(tmp_path)
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_ends_with_the_same_policy(name, trained, tmp_path, monkeypatch):
    train, _, settings = RUNS[name]

    class KilledError(Exception):
        pass

    step, taken = TrainingEpisodes.step, 0

    def dies(self, action):
        nonlocal taken
        taken += 1
        if taken == settings["checkpoint_every"] + 20:
            raise KilledError
        return step(self, action)

    monkeypatch.setattr(TrainingEpisodes, "step", dies)
    with pytest.raises(KilledError):
        train(task_id=TWO_ROOM, directory=tmp_path, seed=0, progress=False, **settings)
    assert not (tmp_path / "training.json").exists()
    train(task_id=TWO_ROOM, directory=tmp_path, seed=0, progress=False, **settings)
    assert taken == settings["checkpoint_every"] + 20 + settings["num_steps"] - settings["checkpoint_every"]
    whole, resumed = parameters(trained / name), parameters(tmp_path)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    for key, values in np.load(trained / name / "normalisation.npz").items():
        np.testing.assert_array_equal(values, np.load(tmp_path / "normalisation.npz")[key])


@pytest.mark.parametrize("name", RUNS)
def test_acts_with_the_mean_of_its_policy(name, trained, play, specs):
    agent = RUNS[name][1](task_id=TWO_ROOM, policy=trained / name)
    together, _ = play(agent, specs, num_steps=10)
    alone, _ = play(agent, specs[3:4], num_steps=10)
    assert np.array_equal(together[3], alone[0])
    assert (np.abs(together) <= 1).all()
    assert len(np.unique(together[:, 0], axis=0)) == len(specs)


def test_refuses_the_policy_of_another_algorithm_or_task(trained):
    with pytest.raises(ValueError, match="'algorithm': 'ppo'"):
        sac.SACAgent(task_id=TWO_ROOM, policy=trained / "ppo")
    with pytest.raises(ValueError, match="PointMaze-UMaze"):
        sac.SACAgent(task_id="jepabench/PointMaze-UMaze-v1", policy=trained / "sac")


def test_hindsight_needs_a_whole_episode_before_it_learns(tmp_path):
    with pytest.raises(ValueError, match="learning_starts is at least 60, got 10"):
        sac.train(task_id=TWO_ROOM, directory=tmp_path, seed=0, learning_starts=10, progress=False)


@pytest.mark.slow
def test_sac_learns_near_goals(tmp_path, play, specs):
    sac.train(task_id=TWO_ROOM, directory=tmp_path, seed=0, num_steps=4000, progress=False)
    _, distances = play(sac.SACAgent(task_id=TWO_ROOM, policy=tmp_path), specs, num_steps=40)
    assert (distances.min(1) < 0.1).mean() > 0.6
