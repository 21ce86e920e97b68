"""Test the Python interface."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import jepabench
import jepabench.agents.base
from jepabench.envs import ActionBlock
from jepabench.envs.registry import UnknownNameError
from jepabench.pipeline.config import ConfigError

TASK = "jepabench/TwoRoom-v1"


def test_a_preset_is_evaluated_on_a_suite(tmp_path):
    results = jepabench.evaluate("hold-still", suite="smoke", output=tmp_path, progress=False)
    table = results.table()
    assert list(table["agent"]) == ["hold-still"] and (table["held"] == 0).all()
    assert len(results.to_frame()) == table["episodes"].sum() == 2
    assert "hold-still" in str(table) and "..." not in str(table), "no column is left out"


def test_an_agent_plans_with_a_reference_model():
    agent = jepabench.make_agent(
        "jepa-icem", world_model="two-room", overrides=["agent.planner.num_samples=32"]
    )
    results = jepabench.evaluate(
        agent, task=TASK, strata=["near"], episodes=2, name="mine", progress=False
    )
    assert list(results.table()["agent"]) == ["mine"]
    (film,) = results.films(1)
    assert film.suffix == ".webp" and film.exists()
    assert "data:image/webp" in results._repr_html_()


def test_an_agent_plans_with_the_reference_model_of_its_task():
    agent = jepabench.make_agent(None, "tworoom")
    assert agent.task.id == TASK
    assert isinstance(jepabench.make_agent("random", "TwoRoom"), jepabench.agents.base.RandomAgent)


@pytest.mark.parametrize("blocks", [False, True])
def test_processes_step_a_vector_environment_as_one_process_does(blocks):
    """Through truncation and the next episode, with frames."""
    settings = {"pixels": 32, "blocks": blocks}
    envs = [
        jepabench.make_vec("TwoRoom", 2, vectorization_mode=mode, **settings)
        for mode in ("sync", "async")
    ]
    seen = [vector.reset(seed=[1, 2])[0] for vector in envs]
    envs[0].action_space.seed(0)
    ended = 0
    for step in range(110):
        one, other = seen
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=f"{name} at {step}")
        actions = envs[0].action_space.sample()
        first, second = (vector.step(actions) for vector in envs)
        for a, b in zip(first[1:4], second[1:4], strict=True):
            np.testing.assert_array_equal(a, b)
        ended += int((first[2] | first[3]).sum())
        seen = [first[0], second[0]]
    assert ended >= 2  # the episodes ended, and the environments began new ones
    assert seen[0]["pixels"].shape == (2, 32, 32, 3)
    for vector in envs:
        vector.close()


def test_a_policy_is_trained_elsewhere_on_a_vector_environment():
    """REINFORCE in plain PyTorch, which rewards progress: the agents end nearer to their goals."""
    envs = jepabench.make_vec("TwoRoom", 16, blocks=True)
    torch.manual_seed(0)
    policy = torch.nn.Linear(2, envs.single_action_space.shape[0], bias=False)
    torch.nn.init.zeros_(policy.weight)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    high = torch.from_numpy(envs.single_action_space.high)
    moved = []
    for update in range(15):
        seen, _ = envs.reset(seed=[100 * update + index for index in range(16)])
        goals = torch.from_numpy(seen["desired_goal"] - seen["achieved_goal"]).float()
        chosen = torch.distributions.Normal(policy(goals), 0.3)
        actions = chosen.sample()
        after, *_ = envs.step((actions.clamp(-1, 1) * high).numpy())
        left = np.linalg.norm(after["desired_goal"] - after["achieved_goal"], axis=1)
        progress = goals.norm(dim=1) - torch.from_numpy(left).float()
        moved.append(float(progress.mean()))
        advantage = (progress - progress.mean()) / (progress.std() + 1e-6)
        loss = -(chosen.log_prob(actions).sum(1) * advantage).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    envs.close()
    assert np.mean(moved[-4:]) > np.mean(moved[:4]) + 0.02, moved


def test_a_vector_environment_steps_control_steps_or_blocks():
    for blocks in (False, True):
        envs = jepabench.make_vec("TwoRoom", 2, blocks=blocks)
        first, _ = envs.reset(seed=[3, 4])
        again, _ = envs.reset(seed=[3, 4])
        np.testing.assert_array_equal(first["observation"], again["observation"])
        single = jepabench.make("TwoRoom")
        alone, _ = single.reset(seed=4)
        np.testing.assert_array_equal(first["observation"][1], alone["observation"])
        assert envs.single_observation_space["desired_goal"].shape == alone["desired_goal"].shape
        actions = envs.action_space.sample()
        after, reward, terminated, truncated, _ = envs.step(actions)
        expected, *_ = (ActionBlock(single) if blocks else single).step(actions[1])
        np.testing.assert_array_equal(after["observation"][1], expected["observation"])
        assert reward.shape == terminated.shape == truncated.shape == (2,)
        envs.close()
        single.close()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: jepabench.load_world_model("two-rom"), UnknownNameError, "two-room"),
        (lambda: jepabench.make("jepabench/TwoRom-v1"), UnknownNameError, "TwoRoom"),
        (lambda: jepabench.make_agent("gcbc", world_model="two-room"), ConfigError, "gcbc"),
        (lambda: jepabench.make_agent("jepa-cme", world_model="two-room"), UnknownNameError, "cem"),
        (lambda: jepabench.evaluate("random", suite="quik"), UnknownNameError, "quick"),
        (lambda: jepabench.evaluate("radom", suite="quick"), UnknownNameError, "random"),
        (lambda: jepabench.evaluate(object()), ValueError, "task="),
        (lambda: jepabench.make("TwoRom"), UnknownNameError, "TwoRoom"),
        (lambda: jepabench.make_vec("TwoRoom", 0), ValueError, "at least 1"),
        (lambda: jepabench.make_vec("TwoRoom", vectorization_mode="x"), UnknownNameError, "sync"),
        (lambda: jepabench.make_agent("jepa-cem"), ConfigError, "Name the task"),
        (
            lambda: jepabench.make_agent("jepa-cem", "PickPlace"),
            ConfigError,
            "no reference world mod",
        ),
        (lambda: jepabench.make_agent("gcbc", "TwoRoom"), ConfigError, "trained first"),
        (
            lambda: jepabench.make_agent("jepa-cem", "Reach", world_model="two-room"),
            ConfigError,
            "not on jepabench/Reach-v1",
        ),
        (
            lambda: jepabench.evaluate(lambda x: x[:, :2], task="Reach", suite="smoke"),
            (ConfigError, ValueError),
            "Reach",
        ),
    ],
)
def test_a_mistyped_name_gets_a_suggestion(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_import_is_fast(tmp_path):
    heavy = "{'torch', 'mujoco', 'pandas', 'hydra', 'matplotlib'}"
    code = f"import sys, jepabench\nassert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
