"""Test offline methods: their goals, that they learn, and that they resume exactly."""

import numpy as np
import pytest
import torch
from offline_episodes import QUICK, TWO_ROOM, counting_episode, train_on_latents
from safetensors.torch import load_file

from jepabench.agents.base import HoldStillAgent
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
    HindsightPairs,
    Tables,
)
from jepabench.agents.model_free.offline.networks import Sizes, Standardise
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.proposals import load_proposal
from jepabench.envs import make, reset_to
from jepabench.envs.data.collect import collect
from jepabench.envs.data.writing import write_dataset
from jepabench.world_models.base import Context
from jepabench.world_models.checkpoint import load_world_model

METHODS = {
    "gciql": (gciql.train, gciql.GCIQLAgent),
    "gcivl": (gcivl.train, gcivl.GCIVLAgent),
    "hiql": (hiql.train, hiql.HIQLAgent),
    "crl": (crl.train, crl.CRLAgent),
    "td3bc": (td3bc.train, td3bc.TD3BCAgent),
    "tdmpc": (tdmpc.train, tdmpc.TDMPCAgent),
}


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


def test_a_search_in_the_learned_model_is_counted_and_changes_the_action(dataset, tmp_path, specs):
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


def test_imagined_latents_stay_on_the_simplex(dataset, tmp_path):
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
    train_on_latents(inverse, tmp_path, dataset=dataset, world_model=state_model)
    agent = inverse.InverseAgent(task_id=TWO_ROOM, policy=tmp_path, world_model=state_model)
    _, distances = play(agent, specs, num_steps=40)
    assert (distances.min(1) < 0.1).mean() > 0.8


def test_a_timed_policy_proposes_a_plan_for_each_time_of_arrival(dataset, state_model, tmp_path):
    train_on_latents(
        timed, tmp_path, dataset=dataset, world_model=state_model, max_goal_steps=6, history=1
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
