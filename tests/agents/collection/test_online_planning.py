"""Test online planning: rounds of acting, training and planning."""

import json

import numpy as np
import pytest

from jepabench.agents.collection import online_planning
from jepabench.agents.model_free.online.training import budget_folder
from jepabench.envs import episode_specs
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.evaluation.rollout import evaluate_episodes

TASK = "jepabench/TwoRoom-v1"
AGENT = {
    "_target_": "jepabench.agents.build.build_mpc",
    "planner": {
        "_target_": "jepabench.agents.planners.best_proposal.BestProposalPlanner",
        "horizon": 2,
    },
}
SETTINGS = {
    "budgets": (150, 300),
    "episode_steps": 10,
    "model": {
        "encoder": "keypoint",
        "encoder_options": {"width": 8, "num_keypoints": 6, "hidden": 16},
        "latent_dim": 6,
        "rollout_steps": 1,
        "terms": {"sigreg": {"weight": 0.05, "num_directions": 16}},
    },
    "training": {"num_steps": 3, "batch_size": 8, "on_collapse": "warn"},
    "proposals": {"num_steps": 3, "batch_size": 8, "hidden_size": 8, "max_goal_steps": 3},
    "agent": AGENT,
}


def run(folder, **changes):
    online_planning.train(
        task_id=TASK, directory=folder, seed=0, progress=False, **{**SETTINGS, **changes}
    )


def test_every_budget_has_an_agent_and_later_rounds_act_with_it(tmp_path):
    run(tmp_path)
    saved = [budget_folder(tmp_path, budget) / "training.json" for budget in SETTINGS["budgets"]]
    counts = [json.loads(path.read_text(encoding="utf-8")) for path in saved]
    assert [count["transitions"] for count in counts] == [150 + 100, 300 + 100]
    assert counts[0]["train_seconds"] < counts[1]["train_seconds"]
    data = EpisodeDataset.open(tmp_path / "round-01" / "data")
    assert data.manifest.num_transitions * 5 == 300
    collected = EpisodeDataset.open(tmp_path / "round-01" / "collected").manifest
    assert collected.behaviour.startswith("jepa-online-")
    agent = online_planning.load_agent(task_id=TASK, policy=tmp_path, agent=AGENT)
    specs = episode_specs(TASK, "validation", 1)
    records = evaluate_episodes(agent, specs, agent_name="jepa-online").records
    assert len(records) == len(specs)


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    broken = tmp_path / "broken"
    real = online_planning.timed.train
    calls = []

    def stop_in_second_round(**arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(**arguments)

    monkeypatch.setattr(online_planning.timed, "train", stop_in_second_round)
    with pytest.raises(KeyboardInterrupt):
        run(broken)
    monkeypatch.setattr(online_planning.timed, "train", real)
    run(broken)
    weights = [
        (folder / "final" / "world_model" / "weights.safetensors").read_bytes()
        for folder in (tmp_path / "whole", broken)
    ]
    assert weights[0] == weights[1]


def test_goals_are_frames_that_were_seen(tmp_path):
    from jepabench.envs import make

    run(tmp_path, budgets=(150,))
    config = online_planning.OnlineConfig(**SETTINGS)
    folder = tmp_path / "round-00"
    behaviour = online_planning.GoalSeekingBehaviour(folder, folder / "data", config)
    env = make(TASK, pixels=64)
    observation, _ = env.reset(seed=0)
    behaviour.reset(env, np.random.default_rng(0))
    action = behaviour.act(observation)
    assert env.action_space.contains(action)
    frames = np.asarray(EpisodeDataset.open(folder / "data").field("pixels"))
    assert (frames == behaviour._goal).all(axis=(1, 2, 3)).any()
    env.close()


def test_refuses_budgets_out_of_order(tmp_path):
    with pytest.raises(ValueError, match="ascending"):
        run(tmp_path, budgets=(300, 150))
