"""Test hindsight goals and the windows of frames that policies receive."""

import numpy as np
import pytest
import torch
from offline_episodes import TWO_ROOM, counting_episode, train_on_latents

from jepabench.agents.encoding import Features
from jepabench.agents.model_free.offline import (
    gcbc,
)
from jepabench.agents.model_free.offline.hindsight import (
    GoalBatch,
    GoalMixture,
    HindsightPairs,
    Tables,
    Windows,
)
from jepabench.envs import episode_specs, get_task
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.writing import write_dataset
from jepabench.world_models.checkpoint import load_world_model


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


def test_value_goals_follow_the_goal_mixture(tmp_path):
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
def test_a_policy_sees_the_same_input_as_in_training(
    history, dataset, state_model, tmp_path, monkeypatch
):
    """Along an episode of the data, an agent's inputs equal those of a batch, bit by bit."""
    train_on_latents(
        gcbc, tmp_path, dataset=dataset, world_model=state_model, num_steps=1, history=history
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
