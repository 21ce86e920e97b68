"""Offline methods: their goals, that they learn, and that an interruption changes nothing."""

import json
from importlib import import_module

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jepabench.agents.base import HoldStillAgent
from jepabench.agents.encoding import Features
from jepabench.agents.model_free.offline import (
    crl,
    gcbc,
    gciql,
    gcivl,
    hiql,
    inverse,
    td3bc,
    tdmpc,
    timed,
)
from jepabench.agents.model_free.offline.hindsight import (
    GoalBatch,
    GoalMixture,
    HindsightPairs,
    Tables,
    Windows,
)
from jepabench.agents.model_free.offline.networks import OfflineConfig, Sizes, Standardise
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.proposals import load_proposal
from jepabench.envs import episode_specs, get_task, make, reset_to
from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import Episode, EpisodeDataset
from jepabench.envs.data.writing import write_dataset
from jepabench.world_models.base import Context
from jepabench.world_models.checkpoint import fingerprint, load_world_model

TWO_ROOM = "jepabench/TwoRoom-v1"
METHODS = {
    "gciql": (gciql.train, gciql.GCIQLAgent),
    "gcivl": (gcivl.train, gcivl.GCIVLAgent),
    "hiql": (hiql.train, hiql.HIQLAgent),
    "crl": (crl.train, crl.CRLAgent),
    "td3bc": (td3bc.train, td3bc.TD3BCAgent),
    "tdmpc": (tdmpc.train, tdmpc.TDMPCAgent),
}
QUICK = {"num_steps": 400, "batch_size": 128, "hidden_size": 64, "num_layers": 2, "progress": False}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train"
    collect(
        TWO_ROOM, path, num_episodes=150, num_steps=12, pixels=None, num_workers=1, progress=False
    )
    return path


@pytest.fixture(scope="module")
def state_model(save_twin, tmp_path_factory):
    """A model whose latent is the standardised state: a representation without flaw."""
    return save_twin(tmp_path_factory.mktemp("model"), std=(0.5, 0.5, 1.0, 1.0))


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
        tmp_path / "data",
        [counting_episode(3, 100), counting_episode(1, 200), counting_episode(5, 300)],
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


def test_goals_of_a_value_are_of_the_kinds_asked_for(tmp_path):
    data = write_dataset(tmp_path / "data", [counting_episode(4, 100), counting_episode(9, 200)])
    pairs, rng = HindsightPairs(data, max_steps=5), np.random.default_rng(0)
    now = pairs.sample(3000, rng)[0]
    kinds = {
        name: pairs.draw_value_goals(now, GoalMixture(*share), gamma=0.7, rng=rng)
        for name, share in {"present": (1, 0, 0), "future": (0, 1, 0), "random": (0, 0, 1)}.items()
    }
    assert torch.equal(kinds["present"], now)
    ahead = kinds["future"] - now
    assert ahead.min() == 1 and (kinds["future"] <= pairs.find_last_row(now)).all()
    free = pairs.find_last_row(now) - now > 1
    assert (
        abs(float((ahead[free] == 1).float().mean()) - 0.3) < 0.04
    )  # geometric with success rate 1 - gamma
    assert set(kinds["random"].tolist()) == set(range(15))


def test_a_batch_looks_ahead_within_its_episode_only(tmp_path):
    data = write_dataset(tmp_path / "data", [counting_episode(3, 100), counting_episode(6, 200)])
    pairs = HindsightPairs(data, max_steps=6)
    state = torch.from_numpy(np.array(data.field("observation")))
    rows = pairs.sample(500, np.random.default_rng(0))
    batch = GoalBatch(Tables(state, state, state), pairs, rows, rows[0])
    assert torch.equal(batch.next, batch.now + 1) and batch.reached.all()
    assert torch.equal(batch.goal[:, 0] - batch.now[:, 0], batch.steps.double())
    assert torch.equal(batch.select_subgoal(2)[0], torch.minimum(batch.now + 2, batch.goal))
    _, later, within = batch.select_transition(2)
    assert torch.equal(later[within], batch.now[within] + 3)
    last = torch.where(batch.now[:, 0] < 200, 103, 206)
    assert torch.equal(within, batch.now[:, 0] + 3 <= last)


def test_a_batch_looks_back_within_its_episode_only(tmp_path):
    data = write_dataset(tmp_path / "data", [counting_episode(3, 100), counting_episode(6, 200)])
    pairs = HindsightPairs(data, max_steps=6)
    state = torch.from_numpy(np.array(data.field("observation")))
    rows = pairs.sample(500, np.random.default_rng(0))
    batch = GoalBatch(Tables(Windows(state, data, 3), state, state), pairs, rows, rows[0])
    now = state[batch.now_rows]
    first = torch.where(now < 200, 100.0, 200.0)
    expected = torch.cat([torch.maximum(now - back, first) for back in (2, 1, 0)], dim=1)
    assert torch.equal(batch.now, expected)
    assert (
        expected[:, :2] == expected[:, 4:]
    ).any()  # the first frame of an episode was among them
    assert torch.equal(batch.next, torch.cat([batch.now[:, 2:], now + 1], dim=1))


@pytest.mark.parametrize("history", [None, 1, 3])
def test_an_agent_shows_its_policy_what_training_did(
    history, dataset, state_model, tmp_path, monkeypatch
):
    """Along an episode of the data, an agent's inputs equal those of a batch, bit by bit."""
    gcbc.train(
        task_id=TWO_ROOM,
        dataset=dataset,
        directory=tmp_path,
        seed=0,
        world_model=state_model,
        **QUICK | {"num_steps": 1, "history": history},
    )
    agent = gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=state_model)
    model, data = load_world_model(state_model).model, EpisodeDataset.open(dataset)
    assert agent.policy.history == (history or model.history) and model.history > 1
    shown = []
    monkeypatch.setattr(
        agent.policy,
        "decide",
        lambda now, goal: shown.append(now) or torch.zeros(1, agent.policy.sizes.action),
    )
    latents = Features(model).vectors(data)[0]
    first, block = int(data.starts[1]), get_task(TWO_ROOM).action_block
    specs = episode_specs(TWO_ROOM, "validation", 1, strata=("near",))
    for _ in range(2):  # a reset forgets what was seen
        shown.clear()
        agent.reset(specs)
        for row in range(first, first + 4):
            seen = {
                key: np.array(data.field(key)[[row]]) for key in ("observation", "desired_goal")
            }
            for _ in range(block):
                agent.act(seen, np.array([True]))
        windows = Windows(latents, data, agent.policy.history)[torch.arange(first, first + 4)]
        assert torch.equal(torch.cat(shown), windows)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_offline_reinforcement_learning_reaches_near_goals(name, dataset, tmp_path, play, specs):
    train, agent = METHODS[name]
    train(
        task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **QUICK | {"num_steps": 600}
    )
    _, distances = play(agent(task_id=TWO_ROOM, policy=tmp_path), specs, num_steps=40)
    _, still = play(HoldStillAgent(task_id=TWO_ROOM), specs, num_steps=40)
    assert distances.min(1).mean() < 0.5 * still.min(1).mean()


def test_implicit_values_count_the_steps_to_a_goal(tmp_path):
    """On a one-way line, the value of a goal k steps ahead is -(1 + d + ... + d^(k-1))."""
    data = write_dataset(tmp_path / "data", [counting_episode(8, 0)] * 4)
    state = torch.from_numpy(np.array(data.field("achieved_goal"), np.float32)) / 8
    pairs = HindsightPairs(data, max_steps=8)
    config = gcivl.GCIVLConfig(hidden_size=64, num_layers=2, tau=0.05, gamma=0.9)
    torch.manual_seed(0)
    policy = gcivl.GCIVLPolicy(Sizes(2, 2, 2), config)
    optimizer = torch.optim.Adam(policy.parameters(), lr=2e-3)
    for step in range(300):
        rng = np.random.default_rng(step)
        rows = pairs.sample(128, rng)
        goals = pairs.draw_value_goals(rows[0], policy.value_goals, gamma=0.9, rng=rng)
        losses = policy.losses(
            GoalBatch(Tables(state, state, torch.zeros(36, 2)), pairs, rows, goals),
            torch.Generator(),
        )
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        policy.after_step()
    with torch.no_grad():
        found = policy.value(policy.embed(state[:5], state[[4] * 5]))[..., 0].mean(0)
    truth = torch.tensor([-(1 - 0.9**k) / 0.1 for k in (4, 3, 2, 1, 0)])
    torch.testing.assert_close(found, truth, atol=0.6, rtol=0)


def test_a_search_in_the_learned_model_is_paid_for_and_decides(dataset, tmp_path, specs):
    """A plan is worth at least the policy's own, and every imagined step is counted."""
    tdmpc.train(
        task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **QUICK | {"num_steps": 20}
    )
    agent = tdmpc.TDMPCAgent(
        task_id=TWO_ROOM,
        policy=tmp_path,
        planner=MPPIPlanner(horizon=3, num_samples=16, num_iterations=2),
    )
    env = make(TWO_ROOM)
    seen, _ = reset_to(env, specs[0])
    agent.reset(specs[:1])
    chosen = agent.act({key: seen[key][None] for key in agent.observation_keys}, np.array([True]))
    assert agent.model_steps.tolist() == [
        3 * (2 * 16 + 1 + 1)
    ]  # samples, the final mean, the policy's proposal
    policy, now, goal = (
        agent.policy,
        *(torch.from_numpy(seen[key][None]).float() for key in agent.observation_keys),
    )
    with torch.no_grad():
        cost = tdmpc.ValueCost(policy, policy.encode(now), policy.goal_encoder.encode_goal(goal))
        alone = cost.propose(3)
        torch.testing.assert_close(alone[0, 0, :1], policy.decide(now, goal))
        plan = agent._control.planner.plan(
            cost,
            bounds=agent._control.bounds,
            initial=alone,
            generators=[torch.Generator().manual_seed(0)],
        )
        assert plan.cost <= cost(alone)
    assert chosen.shape == (1, 2)


def test_imagined_latents_stay_what_latents_are(dataset, tmp_path):
    tdmpc.train(
        task_id=TWO_ROOM, dataset=dataset, directory=tmp_path, seed=0, **QUICK | {"num_steps": 5}
    )
    policy = tdmpc.TDMPCAgent(task_id=TWO_ROOM, policy=tmp_path).policy
    latent = policy.encode(torch.randn(4, 4))
    for _ in range(50):
        latent = policy.imagine(latent, 3 * torch.randn(4, 2))
    torch.testing.assert_close(latent.unflatten(1, (-1, tdmpc.GROUP)).sum(2), torch.ones(4, 8))
    with pytest.raises(ValueError, match="latent_size must be a multiple of 8, got 20"):
        tdmpc.TDMPCConfig(latent_size=20)


def test_pixels_train_their_own_encoder(tmp_path, play):
    data = tmp_path / "data"
    collect(TWO_ROOM, data, num_episodes=3, num_steps=4, pixels=32, num_workers=1, progress=False)
    settings = {
        "num_steps": 2,
        "batch_size": 8,
        "hidden_size": 16,
        "progress": False,
        "pixels": True,
    }
    gciql.train(task_id=TWO_ROOM, dataset=data, directory=tmp_path / "policy", seed=0, **settings)
    agent = gciql.GCIQLAgent(task_id=TWO_ROOM, policy=tmp_path / "policy", pixels=True)
    assert agent.observation_keys == ("pixels", "goal_pixels")
    weights = load_file(tmp_path / "policy" / "policy.safetensors")
    assert any(name.startswith("goal_encoder.encoder") for name in weights)
    with pytest.raises(ValueError, match="'inputs': 'pixels'"):
        gciql.GCIQLAgent(task_id=TWO_ROOM, policy=tmp_path / "policy")


def test_refuses_unknown_settings_and_frames_that_are_not_there(dataset, tmp_path):
    common = {"task_id": TWO_ROOM, "dataset": dataset, "directory": tmp_path, "seed": 0}
    with pytest.raises(KeyError, match="Unknown setting of gciql 'expectil'"):
        gciql.train(**common, expectil=0.8)
    with pytest.raises(KeyError, match="Unknown field 'pixels'"):
        gciql.train(**common, pixels=True)
    with pytest.raises(ValueError, match="uses one frame, got history=2"):
        gciql.train(**common, pixels=True, history=2)


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


def test_inverse_model_reaches_near_goals_on_a_flawless_latent(
    dataset, state_model, tmp_path, play, specs
):
    inverse.train(
        task_id=TWO_ROOM,
        dataset=dataset,
        world_model=state_model,
        directory=tmp_path,
        seed=0,
        **QUICK,
    )
    agent = inverse.InverseAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=state_model)
    _, distances = play(agent, specs, num_steps=40)
    assert (distances.min(1) < 0.1).mean() > 0.8


def test_cloning_on_latents_says_so_and_of_which_model(dataset, state_model, save_twin, tmp_path):
    gcbc.train(
        task_id=TWO_ROOM,
        dataset=dataset,
        directory=tmp_path,
        seed=0,
        world_model=state_model,
        **QUICK | {"num_steps": 5},
    )
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


def test_latents_are_those_of_the_model_that_is_in_the_folder_now(dataset, save_twin, tmp_path):
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


def test_reports_what_it_cost(dataset, tmp_path):
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


def test_an_unfinished_run_is_no_policy(tmp_path):
    with pytest.raises(ValueError, match="training did not finish"):
        gcbc.GCBCAgent(task_id=TWO_ROOM, policy=tmp_path)


def test_refuses_settings_that_can_not_work():
    with pytest.raises(ValueError, match="batch_size is at least 1, got 0"):
        OfflineConfig(batch_size=0)


def test_a_timed_policy_proposes_a_plan_for_each_time_of_arrival(dataset, state_model, tmp_path):
    settings = QUICK | {"max_goal_steps": 6, "history": 1}
    timed.train(
        task_id=TWO_ROOM,
        dataset=dataset,
        directory=tmp_path,
        seed=0,
        world_model=state_model,
        **settings,
    )
    loaded = load_world_model(state_model)
    proposal = load_proposal(
        tmp_path, task_id=TWO_ROOM, world_model=state_model, scale=loaded.scale
    )
    start, goal = torch.tensor([[-1.0, 0.0, 0.0, 0.0]]), torch.tensor([[0.6, 0.0, 0.0, 0.0]])
    known = loaded.model.history
    context = Context(start[:, None].expand(-1, known, -1), torch.zeros(1, known - 1, 2))
    plans = proposal(loaded.model, context, goal, horizon=3)
    assert plans.shape == (1, 6, 3, 2)
    first = plans[0, :, 0, 0]  # towards the goal, and the faster the sooner it is to be there
    assert first[0] > first[-1] > 0
    proposal.policy.history = known + 1
    with pytest.raises(
        ValueError, match=f"remembers {known}. Train the policy with history={known}"
    ):
        proposal(loaded.model, context, goal, horizon=3)


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
