"""Test external policies: files of Stable-Baselines3, PyTorch modules and functions."""

import json
import os
import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FilterObservation, FlattenObservation
from sb3_contrib import TQC, RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.her import HerReplayBuffer
from torch import nn

import jepabench
from jepabench.agents.model_free.external.module_agent import ModuleAgent
from jepabench.agents.model_free.external.sb3 import SB3Agent
from jepabench.agents.model_free.external.trust import UntrustedFileError, set_trust
from jepabench.envs import ActionBlock, UnknownNameError, episode_specs, make, reset_to
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.pipeline.config import load_preset
from jepabench.pipeline.presets.search_path import ConfigError

TASK = "jepabench/TwoRoom-v1"
SPECS = episode_specs(TASK, "test", 1, strata=("near",))


@pytest.fixture(autouse=True)
def trusted():
    set_trust(True)
    yield
    set_trust(False)


def sac(env, **settings):
    her = {"replay_buffer_class": HerReplayBuffer, "learning_starts": 300}
    net = {"policy_kwargs": {"net_arch": [8]}, "buffer_size": 1000, "device": "cpu", "seed": 0}
    return SAC("MultiInputPolicy", env, **her, **net, **settings)


def save(model, folder):
    path = folder / "model.zip"
    model.save(path)
    return path


def first_actions(agent, wanted, steps=4):
    """Return the agent's actions and the expected ones along one episode."""
    env = make(TASK)
    observation, _ = reset_to(env, SPECS[0])
    agent.reset(SPECS)
    pairs = []
    for step in range(steps):
        rows = {key: observation[key][None] for key in agent.observation_keys}
        action = agent.act(rows, np.array([True]))[0]
        pairs.append((action, wanted(observation, step)))
        observation, *_ = env.step(action)
    env.close()
    return [np.stack(side) for side in zip(*pairs, strict=True)]


def test_a_saved_goal_policy_acts_as_its_model_does_at_every_control_step(tmp_path):
    model = sac(make(TASK))
    agent = SB3Agent(task_id=TASK, model=save(model, tmp_path))
    assert agent.rate == "step"
    ours, theirs = first_actions(agent, lambda seen, _: model.predict(seen, deterministic=True)[0])
    np.testing.assert_array_equal(ours, theirs)
    assert agent.training_cost["transitions"] == 0
    assert agent.training_cost["train_seconds"] is None


def test_normalisation_of_the_training_is_applied(tmp_path):
    env = VecNormalize(DummyVecEnv([lambda: make(TASK)]), norm_reward=False)
    settings = {"n_steps": 64, "batch_size": 32, "n_epochs": 1, "device": "cpu", "seed": 0}
    model = PPO("MultiInputPolicy", env, **settings)
    model.learn(64)
    env.save(str(tmp_path / "vecnormalize.pkl"))
    path = save(model, tmp_path)

    def wanted(seen, _):
        return model.predict(env.normalize_obs(seen), deterministic=True)[0]

    preset = load_preset("agent", f"sb3:{path}")
    assert preset["agent"]["vec_normalize"] == str(tmp_path / "vecnormalize.pkl")
    assert preset["track"]["observation"] == "state"
    agent = SB3Agent(task_id=TASK, model=path, vec_normalize=tmp_path / "vecnormalize.pkl")
    ours, theirs = first_actions(agent, wanted)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    plain, _ = first_actions(SB3Agent(task_id=TASK, model=path), wanted)
    assert np.abs(plain - theirs).max() > 1e-4
    assert agent.training_cost["transitions"] == 64


def test_a_policy_on_blocks_is_called_once_per_block(tmp_path):
    model = sac(ActionBlock(make(TASK)))
    agent = SB3Agent(task_id=TASK, model=save(model, tmp_path), act="block")
    blocks = []

    def wanted(seen, step):
        task = agent.task
        if step % task.action_block == 0:
            blocks.append(model.predict(seen, deterministic=True)[0])
        block = blocks[-1].reshape(task.actions_per_block, -1)
        return block[step % task.action_block // task.hold_steps]

    ours, theirs = first_actions(agent, wanted, steps=2 * agent.task.action_block)
    np.testing.assert_array_equal(ours, theirs)
    assert len(blocks) == 2


@pytest.mark.parametrize("algorithm", [PPO, TQC])
def test_a_policy_on_a_flattened_observation_gets_one(algorithm, tmp_path):
    wrap = FlattenObservation(FilterObservation(make(TASK), ["observation", "desired_goal"]))
    model = algorithm("MlpPolicy", wrap, device="cpu", seed=0)
    agent = SB3Agent(task_id=TASK, model=save(model, tmp_path))

    def wanted(seen, _):
        return model.predict(wrap.observation(wrap.env.observation(seen)), deterministic=True)[0]

    ours, theirs = first_actions(agent, wanted)
    np.testing.assert_array_equal(ours, theirs)


def test_a_recurrent_policy_keeps_its_state_within_an_episode(tmp_path):
    settings = {"n_steps": 8, "policy_kwargs": {"lstm_hidden_size": 8}, "device": "cpu", "seed": 0}
    model = RecurrentPPO("MultiInputLstmPolicy", make(TASK), **settings)
    agent = SB3Agent(task_id=TASK, model=save(model, tmp_path))
    state = None

    def wanted(seen, step):
        nonlocal state
        state = None if step == 0 else state
        action, state = model.predict(
            seen, state=state, episode_start=np.array([step == 0]), deterministic=True
        )
        return action

    ours, theirs = first_actions(agent, wanted)
    np.testing.assert_array_equal(ours, theirs)


def test_a_result_does_not_depend_on_the_batch(tmp_path):
    agent = SB3Agent(task_id=TASK, model=save(sac(make(TASK)), tmp_path))
    specs = episode_specs(TASK, "test", 2, strata=("near",))
    one, two = (evaluate_episodes(agent, specs, agent_name="a", batch_size=size) for size in (1, 2))
    for name in one.actions:
        np.testing.assert_array_equal(one.actions[name], two.actions[name])


class Hostile:
    def __reduce__(self):
        return (os.mkdir, ("hacked",))


def test_no_pickle_is_loaded_without_trust(tmp_path, monkeypatch):
    path = save(sac(make(TASK)), tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vecnormalize.pkl").write_bytes(pickle.dumps(Hostile()))
    set_trust(False)
    preset = load_preset("agent", f"sb3:{path}")  # reads text only
    assert not (tmp_path / "hacked").exists()
    with pytest.raises(UntrustedFileError, match="--trust"):
        SB3Agent(task_id=TASK, model=path)
    with pytest.raises(UntrustedFileError, match="trust=True"):
        jepabench.evaluate(f"sb3:{path}", suite="smoke", output=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists() and not (tmp_path / "hacked").exists()
    agent = jepabench.make_agent(
        f"sb3:{path}", TASK, overrides=["agent.vec_normalize=null"], trust=True
    )
    assert isinstance(agent, SB3Agent)
    with pytest.raises(UntrustedFileError):  # the permission ends with the call
        SB3Agent(task_id=TASK, model=path)
    set_trust(True)
    with pytest.raises(ValueError, match="not VecNormalize"):
        SB3Agent(task_id=TASK, model=path, vec_normalize=preset["agent"]["vec_normalize"])


def test_several_trainings_are_the_seeds_of_one_agent(tmp_path):
    for seed in (0, 1):
        (tmp_path / f"seed{seed}").mkdir()
        save(sac(make(TASK)), tmp_path / f"seed{seed}")
    name = f"sb3:{tmp_path}/seed{{seed}}/model.zip"
    preset = load_preset("agent", name)
    assert preset["per_seed"] and preset["name"].startswith("sb3-model-")
    assert SB3Agent(task_id=TASK, model=preset["agent"]["model"], training_seed=1)


def test_a_changed_file_changes_the_agents_digest(tmp_path):
    path = save(sac(make(TASK)), tmp_path)
    before = load_preset("agent", f"sb3:{path}")["name"]
    save(SAC("MultiInputPolicy", make(TASK), buffer_size=9, device="cpu"), tmp_path)
    assert load_preset("agent", f"sb3:{path}")["name"] != before


def test_a_file_that_is_not_a_model_is_refused_with_the_reason(tmp_path):
    (tmp_path / "text.zip").write_text("nothing", encoding="utf-8")
    for name, message in (
        ("nowhere.zip", "no such file"),
        ("text.zip", "not a zip file"),
        ("", "needs the file"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_preset("agent", f"sb3:{tmp_path / name if name else name}")


def test_a_policy_of_another_world_is_explained(tmp_path):
    path = save(PPO("MlpPolicy", gymnasium.make("Pendulum-v1"), device="cpu"), tmp_path)
    with pytest.raises(ValueError, match="has 1 entries"):
        SB3Agent(task_id=TASK, model=path)
    path = save(sac(make("jepabench/Reach-v1")), tmp_path)
    with pytest.raises(ValueError, match=r"entries|of size"):
        SB3Agent(task_id=TASK, model=path)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, desired_goal: torch.Tensor) -> torch.Tensor:
        return self.layer(desired_goal).tanh()


def test_a_module_receives_the_observations_that_its_parameters_name():
    policy = Named()
    agent = ModuleAgent(policy, task_id=TASK)
    assert agent.observation_keys == ("desired_goal",)

    def wanted(seen, _):
        goal = torch.as_tensor(seen["desired_goal"], dtype=torch.float32)[None]
        return policy(goal)[0].detach().numpy()

    ours, theirs = first_actions(agent, wanted)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_another_module_gets_state_and_goal_in_one_vector():
    size = sum(
        make(TASK).observation_space[key].shape[0] for key in ("observation", "desired_goal")
    )
    results = jepabench.evaluate(
        nn.Sequential(nn.Linear(size, 2), nn.Tanh()),
        task="TwoRoom",
        suite="smoke",
        name="mlp",
        progress=False,
    )
    assert list(results.table()["agent"]) == ["mlp"] and len(results.to_frame()) == 2


def test_invalid_module_agent_is_refused():
    with pytest.raises(ValueError, match="has 3 entries"):
        ModuleAgent(lambda desired_goal: torch.zeros(1, 3), task_id=TASK)
    with pytest.raises(UnknownNameError, match="observation"):
        ModuleAgent(nn.Linear(2, 2), task_id=TASK, inputs=["observatoin"])
    with pytest.raises(UnknownNameError, match="block"):
        ModuleAgent(lambda desired_goal: desired_goal, task_id=TASK, act="blocks")


PLAIN_SB3 = """
import gymnasium, jepabench
from stable_baselines3 import SAC, HerReplayBuffer

env = gymnasium.make("jepabench/TwoRoom-v1")
model = SAC(
    "MultiInputPolicy",
    env,
    replay_buffer_class=HerReplayBuffer,
    learning_starts=300,
    device="cpu",
    seed=0,
)
model.learn(320)
model.save("model.zip")
"""


@pytest.mark.slow
def test_a_model_of_plain_sb3_is_evaluated_and_submitted_by_one_command(tmp_path):
    def run(*command):
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert not (done := run("-c", PLAIN_SB3)).returncode, done.stderr
    submit = ["-m", "jepabench", "submit", "sb3:model.zip", "suite=smoke", "authors=A", "name=mine"]
    refused = run(*submit)
    assert refused.returncode == 2 and "--trust" in refused.stderr
    assert not (tmp_path / "submissions").exists()
    assert not (done := run(*submit, "--trust")).returncode, done.stderr
    folder = tmp_path / "submissions" / "mine"
    manifest = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
    assert manifest["costs"][0]["transitions"] == 320
    assert str(tmp_path) not in json.dumps(manifest)
    done = run("-m", "jepabench", "verify", str(folder), "--json")
    assert not done.returncode and json.loads(done.stdout)["badges"] == ["valid", "replayed"]
