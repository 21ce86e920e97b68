"""Test Stable-Baselines3 on our tasks: training episodes, exact resumption and output files."""

import json
import sys
import tempfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3 import SAC
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.her import HerReplayBuffer

from jepabench.agents.model_free.online import episodes, off_policy, ppo
from jepabench.agents.model_free.online import training as online
from jepabench.agents.model_free.online.episodes import TrainingEpisodes
from jepabench.agents.model_free.online.observations import shift_images
from jepabench.agents.model_free.online.training import OnlineAgent, budget_folder
from jepabench.envs import EpisodeSpec, get_task
from jepabench.envs.maze.two_room import TwoRoom
from jepabench.world_models.checkpoint import fingerprint, save_world_model
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale

TWO_ROOM = "jepabench/TwoRoom-v1"
SMALL = {
    "num_steps": 192,
    "checkpoint_every": 96,
    "learning_starts": 64,
    "batch_size": 16,
    "net_arch": (16,),
}
ON_POLICY = {
    "num_steps": 128,
    "checkpoint_every": 64,
    "num_envs": 2,
    "rollout_steps": 16,
    "batch_size": 16,
    "num_epochs": 2,
}
RUNS = {
    "sac": (off_policy.train, SMALL | {"budgets": (200, 400)}),
    "td3": (off_policy.train, SMALL | {"algorithm": "td3", "num_goals": 0, "reward": "dense"}),
    "tqc": (off_policy.train, SMALL | {"algorithm": "tqc"}),
    "ppo": (ppo.train, ON_POLICY | {"budgets": (200, 600)}),
    "ppo with gsde": (ppo.train, ON_POLICY | {"sde_sample_freq": 4}),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    for name, (train, settings) in RUNS.items():
        train(task_id=TWO_ROOM, directory=folder / name, seed=0, progress=False, **settings)
    return folder


def parameters(folder):
    return load_file(folder / "policy.safetensors")


def test_training_episodes_are_of_the_train_split_and_cycle_through_the_strata(monkeypatch):
    met: list[EpisodeSpec] = []
    reset_to = episodes.reset_to
    monkeypatch.setattr(
        episodes, "reset_to", lambda env, spec: (met.append(spec), reset_to(env, spec))[1]
    )
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
def test_reports_its_cost(name, trained):
    content = json.loads((trained / name / "training.json").read_text(encoding="utf-8"))
    steps = RUNS[name][1]["num_steps"]
    assert content["model_steps"] == steps and content["transitions"] == 5 * steps
    assert content["algorithm"] == name.split()[0] and content["task_id"] == TWO_ROOM
    assert content["train_seconds"] > 0 and content["parameters"] > 100
    assert not list((trained / name).glob("*checkpoint*"))


@pytest.mark.parametrize("name", RUNS)
def test_the_same_seed_gives_the_same_policy(name, trained, tmp_path):
    train, settings = RUNS[name]
    train(task_id=TWO_ROOM, directory=tmp_path, seed=0, progress=False, **settings)
    first, again = parameters(trained / name), parameters(tmp_path)
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_ends_with_the_same_policy(name, trained, tmp_path, monkeypatch):
    train, settings = RUNS[name]

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
    assert (
        taken
        == settings["checkpoint_every"] + 20 + settings["num_steps"] - settings["checkpoint_every"]
    )
    curve = [".", *(f"budgets/{budget:09d}" for budget in settings.get("budgets", ()))]
    for point in curve:
        whole, resumed = parameters(trained / name / point), parameters(tmp_path / point)
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    for key, values in np.load(trained / name / "normalisation.npz").items():
        np.testing.assert_array_equal(values, np.load(tmp_path / "normalisation.npz")[key])


@pytest.mark.parametrize("name", RUNS)
def test_acts_with_the_mean_of_its_policy(name, trained, play, specs):
    agent = OnlineAgent(task_id=TWO_ROOM, policy=trained / name)
    together, _ = play(agent, specs, num_steps=10)
    alone, _ = play(agent, specs[3:4], num_steps=10)
    assert np.array_equal(together[3], alone[0])
    assert (np.abs(together) <= 1).all()
    assert len(np.unique(together[:, 0], axis=0)) == len(specs)


def test_refuses_the_policy_of_another_task_or_view(trained):
    with pytest.raises(ValueError, match="PointMaze-UMaze"):
        OnlineAgent(task_id="jepabench/PointMaze-UMaze-v1", policy=trained / "sac")
    with pytest.raises(ValueError, match="training did not finish"):
        OnlineAgent(task_id=TWO_ROOM, policy=trained / "nothing")


@pytest.mark.parametrize("name", ["sac", "ppo"])
def test_one_run_stores_one_policy_per_budget(name, trained):
    """Each is a policy like any other, says what it had cost, and comes from another time."""
    costs = [json.loads((trained / name / "training.json").read_text(encoding="utf-8"))]
    for budget in RUNS[name][1]["budgets"]:
        folder = budget_folder(trained / name, budget)
        costs.insert(-1, json.loads((folder / "training.json").read_text(encoding="utf-8")))
        OnlineAgent(task_id=TWO_ROOM, policy=folder)
        assert budget <= costs[-2]["transitions"] < budget + 5 * RUNS[name][1].get("num_envs", 1)
    assert [cost["train_seconds"] for cost in costs] == sorted(
        cost["train_seconds"] for cost in costs
    )
    first, last = (
        parameters(budget_folder(trained / name, budget)) for budget in RUNS[name][1]["budgets"]
    )
    assert any(not torch.equal(first[key], last[key]) for key in first)


def test_leaves_nothing_outside_its_folder(tmp_path, monkeypatch):
    (tmp_path / "system").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "system"))
    settings = {
        "num_steps": 80,
        "learning_starts": 64,
        "batch_size": 16,
        "net_arch": (8,),
        "checkpoint_every": 70,
    }
    off_policy.train(
        task_id=TWO_ROOM, directory=tmp_path / "run", seed=0, progress=False, **settings
    )
    assert not list((tmp_path / "system").iterdir())


def test_adapter_gives_same_weights_as_plain_stable_baselines(tmp_path):
    """A run of one segment equals plain Stable-Baselines3 with the same seed, bit by bit."""
    settings = SMALL | {"checkpoint_every": 192}
    off_policy.train(task_id=TWO_ROOM, directory=tmp_path, seed=3, progress=False, **settings)
    env = VecNormalize(
        DummyVecEnv([lambda: TrainingEpisodes(get_task(TWO_ROOM), reward="sparse")]),
        norm_reward=False,
        gamma=0.95,
    )
    plain = SAC(
        "MultiInputPolicy",
        env,
        learning_starts=64,
        batch_size=16,
        train_freq=4,
        gradient_steps=2,
        learning_rate=1e-3,
        gamma=0.95,
        buffer_size=192,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4},
        policy_kwargs={"net_arch": [16]},
        seed=3,
    )
    plain.set_logger(
        configure(str(tmp_path / "plain"), [])
    )  # else it leaves a folder in the system's
    plain.set_random_seed(online._derive_seed(3, 0))
    plain.learn(192)
    ours, theirs = parameters(tmp_path), plain.policy.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours) and ours.keys() == theirs.keys()


def test_policy_on_latents_does_not_see_coordinates(tmp_path, pixel_model, save_twin):
    """Hindsight rewards need coordinates; the features of the policy do not depend on them."""
    off_policy.train(
        task_id=TWO_ROOM,
        directory=tmp_path,
        seed=0,
        world_model=pixel_model,
        image_size=32,
        progress=False,
        **SMALL | {"num_steps": 80},
    )
    agent = OnlineAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=pixel_model)
    assert agent.observation_keys == ("pixels", "goal_pixels")
    env = TrainingEpisodes(get_task(TWO_ROOM), reward="sparse", view=agent._view)
    seen, _ = env.reset(seed=0)
    assert seen["desired_goal"].shape == (2 + 8,) and seen["observation"].shape == (2 * 8,)
    assert np.array_equal(
        seen["observation"][:8], seen["observation"][8:]
    )  # the first latent, twice
    later = env.step(np.ones(2, np.float32))[0]["observation"]
    assert np.array_equal(later[:8], seen["observation"][8:]) and not np.array_equal(
        later[8:], later[:8]
    )
    assert np.array_equal(
        env.reset(seed=0)[0]["observation"], seen["observation"]
    )  # nothing of the episode before
    assert env.compute_reward(seen["achieved_goal"], seen["achieved_goal"], {}) == 0
    moved = seen | {"desired_goal": np.concatenate([[9, 9], seen["desired_goal"][2:]])}
    assert env.compute_reward(seen["achieved_goal"], moved["desired_goal"], {}) == -1
    first, _ = agent.policy.predict(seen, deterministic=True)
    assert np.array_equal(first, agent.policy.predict(moved, deterministic=True)[0])
    with pytest.raises(ValueError, match="'inputs': 'latents'"):
        OnlineAgent(task_id=TWO_ROOM, policy=tmp_path)
    with pytest.raises(ValueError, match=f"'world_model': '{fingerprint(pixel_model)}'.*expected"):
        OnlineAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=save_twin(tmp_path / "other"))


@pytest.fixture(scope="module")
def pixel_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    model = build_model("jepa", {"latent_dim": 8, "action_size": 2})
    save_world_model(
        path,
        kind="jepa",
        model=model,
        scale=ActionScale(torch.zeros(2), torch.ones(2)),
        task_id=TWO_ROOM,
        metadata={},
    )
    return path


def test_shifts_move_whole_frames_and_repeat_edges():
    torch.manual_seed(0)
    images = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).reshape(2, 3, 8, 8)
    padded = torch.nn.functional.pad(images.float(), (2,) * 4, mode="replicate").to(torch.uint8)
    for image, source in zip(
        shift_images(images.repeat(20, 1, 1, 1), 2), padded.repeat(20, 1, 1, 1), strict=True
    ):
        windows = [source[:, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
        assert sum(torch.equal(image, window) for window in windows) == 1


def test_refuses_invalid_training_settings(tmp_path, monkeypatch):
    common = {"task_id": TWO_ROOM, "directory": tmp_path, "seed": 0, "progress": False}
    with pytest.raises(KeyError, match="Unknown reward 'spars'"):
        off_policy.train(**common, reward="spars")
    with pytest.raises(KeyError, match="Unknown off-policy algorithm 'sacc'"):
        off_policy.train(**common, algorithm="sacc")
    with pytest.raises(ValueError, match="Hindsight goals are vectors"):
        off_policy.train(**common, pixels=True)
    with pytest.raises(ValueError, match="leave out pixels"):
        ppo.train(**common, pixels=True, world_model=tmp_path)
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jepabench\[contrib\]'"):
        off_policy.train(**common, algorithm="tqc")
    monkeypatch.setattr(
        TwoRoom, "compute_reward", lambda self, achieved, desired, info: -1.0
    )  # not for batches
    with pytest.raises(ValueError, match="computes no sparse reward"):
        off_policy.train(**common)
    assert not list(tmp_path.iterdir())


def test_hindsight_needs_a_whole_episode_before_it_learns(tmp_path):
    with pytest.raises(ValueError, match="learning_starts must be at least 60, got 10"):
        off_policy.train(
            task_id=TWO_ROOM, directory=tmp_path, seed=0, learning_starts=10, progress=False
        )


@pytest.mark.slow
def test_sac_learns_near_goals(tmp_path, play, specs):
    off_policy.train(task_id=TWO_ROOM, directory=tmp_path, seed=0, num_steps=4000, progress=False)
    _, distances = play(OnlineAgent(task_id=TWO_ROOM, policy=tmp_path), specs, num_steps=40)
    assert (distances.min(1) < 0.1).mean() > 0.6
