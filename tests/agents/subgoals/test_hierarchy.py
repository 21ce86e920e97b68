"""Test hierarchies of levels above a world model with additive dynamics."""

import numpy as np
import pytest
import torch

from jepabench.agents.build import build_mpc
from jepabench.agents.costs.energy import Energy, EnergyConfig, GoalDistance, LearnedDistanceConfig
from jepabench.agents.costs.learned_distance import train as train_distance
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.subgoals.hierarchy import (
    LevelConfig,
    LevelPlan,
    MacroSubgoals,
    MacroSubgoalsConfig,
    fit_levels,
    load_levels,
    train,
)
from jepabench.envs import episode_specs
from jepabench.envs.data.episodes import Episode
from jepabench.envs.data.writing import write_dataset
from jepabench.world_models.kinds.hierarchy import HierarchyConfig, MacroLevel, relative_errors
from jepabench.world_models.settings import make_config
from jepabench.world_models.training.batches import ActionScale

TWO_ROOM = "jepabench/TwoRoom-v1"
SMALL = CEMPlanner(horizon=2, num_samples=8, num_elites=2, num_iterations=2)
SPECS = episode_specs(TWO_ROOM, "test", 3, strata=("near",))


class Adds(MacroLevel):
    """The true level of a world in which a macro-action is a displacement of at most 2 along each
    axis.
    """

    def __init__(self, size=2):
        super().__init__(2, 1, 5, HierarchyConfig(macro_size=2, width=4))
        self.size = size

    def predict(self, latents, actions):
        return latents[:, -1] + actions[:, -1] * self.size


def search_of(num_levels=1, every=1, horizon=4):
    planner = CEMPlanner(horizon=horizon, num_samples=200, num_elites=20, num_iterations=10)
    plan = LevelPlan(planner=planner, energy=Energy(terms=[GoalDistance()]), every=every)
    return MacroSubgoals(
        [Adds(size=4**number) for number in range(num_levels)], [plan] * num_levels
    )


def test_the_subgoal_is_one_stride_along_the_path():
    subgoals = search_of()
    subgoals.reset(SPECS)
    here, goal = torch.tensor([0.0, 0.0]), torch.tensor([6.0, 0.0])
    target = subgoals.choose(0, here, goal)
    assert 1.5 < float(target[0]) <= 2.0 and abs(float(target[1])) < 0.3
    assert subgoals.model_steps.tolist() == [(200 * 10 + 1) * 4, 0, 0]


def test_goal_within_one_stride_is_used_as_subgoal():
    subgoals = search_of()
    subgoals.reset(SPECS)
    goal = torch.tensor([1.0, -0.5])
    assert subgoals.choose(0, torch.zeros(2), goal) is goal


def test_each_level_pursues_the_subgoal_of_the_level_above():
    subgoals = search_of(num_levels=2)
    subgoals.reset(SPECS)
    target = subgoals.choose(0, torch.zeros(2), torch.tensor([30.0, 0.0]))
    assert 1.5 < float(target[0]) <= 2.0, (
        "a stride of the lowest level, towards the 8 of the one above"
    )
    assert subgoals.model_steps[0] == 2 * (200 * 10 + 1) * 4


def test_a_level_replans_after_its_number_of_model_steps():
    subgoals = search_of(every=3)
    subgoals.reset(SPECS)
    goal = torch.tensor([9.0, 9.0])
    targets = [subgoals.choose(1, torch.tensor([float(x), 0.0]), goal) for x in range(4)]
    assert torch.equal(targets[0], targets[2]) and not torch.equal(targets[0], targets[3])
    assert subgoals.model_steps[1] == 2 * (200 * 10 + 1) * 4


def test_the_noise_of_an_episode_does_not_depend_on_others():
    subgoals, goal = search_of(), torch.tensor([9.0, 1.0])
    subgoals.reset(SPECS)
    for episode in (0, 1):
        subgoals.choose(episode, torch.zeros(2), goal)
    third = subgoals.choose(2, torch.zeros(2), goal)
    subgoals.reset(SPECS[2:])
    assert torch.equal(subgoals.choose(0, torch.zeros(2), goal), third)


def test_levels_learn_where_a_sum_of_actions_leads(tmp_path):
    rng, episodes = np.random.default_rng(0), []
    for _ in range(60):
        actions = rng.normal(size=(12, 2)).astype(np.float32)
        points = np.concatenate([rng.normal(size=(1, 2)), actions]).cumsum(0).astype(np.float32)
        observations = dict.fromkeys(("observation", "achieved_goal", "desired_goal"), points)
        flat = np.zeros(12, np.float32)
        episodes.append(
            Episode(
                observations=observations,
                actions=actions,
                rewards=flat,
                violations=flat > 0,
                terminated=False,
                truncated=True,
                task_id=TWO_ROOM,
                seed=0,
            )
        )
    data = write_dataset(tmp_path / "data", episodes)
    latents = torch.from_numpy(np.array(data.field("observation")))
    config = HierarchyConfig(
        strides=(3, 6), macro_size=2, num_steps=250, batch_size=64, width=64, learning_rate=3e-3
    )
    low, high = fit_levels(latents, data, config, seed=0, progress=False)
    for level in (low, high):
        assert isinstance(level, MacroLevel)
        rows = torch.from_numpy(data.window_starts(level.window))[:, None] + torch.arange(
            level.window
        )
        actions = ActionScale.from_dataset(data).normalise(
            torch.from_numpy(np.array(data.field("action")))
        )[rows[:, :-1]]
        assert max(relative_errors(level, latents[rows], actions)) < 0.1
        spread = level.macro(actions[:, : level.stride])[0].std(0)
        assert (spread > 0.5).all() and (spread < 1.5).all(), (
            "a search within the prior meets what was seen"
        )
    with pytest.raises(ValueError, match="needs episodes of 20 model steps; the longest has 12"):
        fit_levels(
            latents, data, HierarchyConfig(strides=(10,), num_steps=1), seed=0, progress=False
        )


@pytest.fixture(scope="module")
def folder(twin_folder):
    home = twin_folder
    train(
        task_id=TWO_ROOM,
        dataset=home / "data",
        world_model=home / "model",
        directory=home / "levels",
        seed=0,
        levels={"strides": [2, 4], "num_steps": 3, "batch_size": 8, "width": 16},
        num_steps=3,
        batch_size=8,
        width=16,
        progress=False,
    )
    return home


def agent_of(folder, num_levels=2):
    energy = EnergyConfig(terms=[LearnedDistanceConfig()])
    level = LevelConfig(planner=SMALL, energy=energy, every=2)
    return build_mpc(
        task_id=TWO_ROOM,
        world_model=folder / "model",
        subgoals=folder / "levels",
        subgoals_config=MacroSubgoalsConfig(levels=[level] * num_levels),
        planner=SMALL,
        energy=Energy(terms=[GoalDistance(dims=(0, 2))]),
    )


def test_plans_on_three_levels_and_counts_all_of_them(folder, specs, play):
    agent = agent_of(folder)
    together, _ = play(agent, specs[:3], num_steps=11)
    plan = 2 * (8 * 2 + 1)
    assert agent.model_steps.tolist() == [3 * plan + 2 * 2 * plan] * 3
    alone, _ = play(agent, specs[2:3], num_steps=11)
    assert np.array_equal(together[2], alone[0])


def test_levels_load_from_disk(folder):
    levels = load_levels(folder / "levels", task_id=TWO_ROOM, world_model=folder / "model")
    assert [level.stride for level in levels] == [2, 4]
    latents, macros = torch.randn(5, 1, 4), torch.randn(5, 1, 4)
    again = load_levels(folder / "levels", task_id=TWO_ROOM, world_model=folder / "model")
    assert torch.equal(levels[1].predict(latents, macros), again[1].predict(latents, macros))


def test_refuses_mismatched_inputs(folder, tmp_path):
    with pytest.raises(ValueError, match="2 trained levels and plans for 1"):
        agent_of(folder, num_levels=1)
    with pytest.raises(ValueError, match="every must be at least 1"):
        LevelPlan(planner=SMALL, energy=Energy(), every=0)
    train_distance(
        task_id=TWO_ROOM,
        dataset=folder / "data",
        world_model=folder / "model",
        directory=tmp_path,
        seed=0,
        num_steps=1,
        batch_size=8,
        width=16,
        progress=False,
    )
    with pytest.raises(ValueError, match="no levels"):
        load_levels(tmp_path, task_id=TWO_ROOM, world_model=folder / "model")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strides": []}, "strides must ascend"),
        ({"strides": [5, 5]}, "strides must ascend"),
        ({"strides": [1]}, "strides must ascend"),
        ({"macro_size": 0}, "macro_size must be at least 1, got 0"),
        ({"kl_weight": -1.0}, "at least 0"),
        ({"stride": 5}, "Did you mean 'strides'"),
    ],
)
def test_refuses_meaningless_settings(settings, message):
    with pytest.raises((ValueError, KeyError), match=message):
        make_config("setting of a hierarchy", HierarchyConfig, settings)
