"""Train distances on a ring with a gap, where the shortest paths are known."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.nn import functional

from jepabench.agents.build import build_mpc
from jepabench.agents.costs.energy import (
    ActionEffort,
    EnergyConfig,
    GoalDistance,
    LearnedDistance,
    LearnedDistanceConfig,
)
from jepabench.agents.costs.learned_distance import (
    fit_head,
    load_distance,
    train,
)
from jepabench.agents.mpc import distance_and_proposals
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.envs.data.episodes import Episode
from jepabench.envs.data.writing import write_dataset
from jepabench.world_models.distances import HEADS, DistanceConfig

TWO_ROOM = "jepabench/TwoRoom-v1"
PLACES, GAP = 28, 2  # the ring has 30 places, of which 2 are a wall
PLANNER = CEMPlanner(horizon=2, num_samples=8, num_elites=2, num_iterations=2)
SHORT = {"num_steps": 3, "batch_size": 8, "width": 16}


def on_the_ring(places):
    angle = np.asarray(places) * 2 * np.pi / (PLACES + GAP)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """Random walks of one place a step; returns the dataset and its latents, the points in the
    plane.
    """
    rng, episodes = np.random.default_rng(0), []
    for start in rng.integers(PLACES, size=150):
        places = [start]
        for step in rng.choice([-1, 1], size=12):
            places.append(int(np.clip(places[-1] + step, 0, PLACES - 1)))
        points = on_the_ring(places).astype(np.float32)
        observations = dict.fromkeys(("observation", "achieved_goal", "desired_goal"), points)
        flat = np.zeros(12, np.float32)
        episodes.append(
            Episode(
                observations=observations,
                actions=flat[:, None],
                rewards=flat,
                violations=flat > 0,
                terminated=False,
                truncated=True,
                task_id=TWO_ROOM,
                seed=0,
            )
        )
    data = write_dataset(tmp_path_factory.mktemp("ring") / "data", episodes)
    return data, torch.from_numpy(np.array(data.field("observation")))


@pytest.mark.parametrize(
    ("kind", "goals_say_all"),
    [*((kind, True) for kind in HEADS), ("quasimetric", False), ("value", False)],
)
def test_trained_head_measures_around_the_gap(ring, kind, goals_say_all):
    data, latents = ring
    goals, start_end = latents, np.meshgrid(np.arange(PLACES), np.arange(PLACES))
    now, goal = (torch.from_numpy(on_the_ring(places)).float() for places in start_end)
    if not goals_say_all:  # as with a state twin: what moves about besides is no part of a goal
        latents = torch.cat(
            [latents, torch.randn(len(latents), 1, generator=torch.Generator().manual_seed(0))],
            dim=1,
        )
        goals, now, goal = (functional.pad(part, (0, 1)) for part in (goals, now, goal))
    settings = {"num_steps": 200, "width": 64, "batch_size": 128, "learning_rate": 3e-3}
    config = DistanceConfig(kind=kind, gamma=0.9, **settings)
    head = fit_head(latents, goals, data, config, seed=0, progress=False)
    start, end = start_end
    found, way = head(now, goal).numpy(), np.abs(start - end)
    local = way <= 6
    assert spearmanr(found[local], way[local]).statistic > 0.8
    if kind == "quasimetric":  # the one that joins up the ways of different episodes
        # The two ends are as near as the crow flies as places 3 steps apart, and 27 steps on foot.
        assert found[0, -1] > 4 * found[10, 13] and found[-1, 0] > 4 * found[13, 10]
        assert spearmanr(found.ravel(), way.ravel()).statistic > 0.95
        steps = found[np.arange(PLACES - 1), np.arange(1, PLACES)]
        assert 0.7 < steps.mean() < 1.5


def trained(twin_folder, directory, **settings):
    options = {
        "dataset": twin_folder / "data",
        "world_model": twin_folder / "model",
        "seed": 0,
        "progress": False,
    }
    train(task_id=TWO_ROOM, directory=directory, **options, **SHORT, **settings)
    return directory


@pytest.mark.parametrize("kind", HEADS)
def test_trained_parts_load_from_disk(twin_folder, tmp_path, kind, specs, play):
    path = trained(twin_folder, tmp_path / "head", kind=kind)
    again = trained(twin_folder, tmp_path / "again", kind=kind)
    heads = [
        load_distance(at, task_id=TWO_ROOM, world_model=twin_folder / "model")
        for at in (path, again)
    ]
    now, goal = torch.randn(2, 10, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(heads[0](now, goal), heads[1](now, goal))
    cost = json.loads((path / "training.json").read_text(encoding="utf-8"))
    assert (
        cost["transitions"] == 6 * 9 * 5
        and (cost["parameters"] > 0) == (kind != "mahalanobis")
        and cost["train_seconds"] > 0
    )
    agent = build_mpc(
        task_id=TWO_ROOM,
        world_model=twin_folder / "model",
        distance=path,
        planner=PLANNER,
        energy=EnergyConfig(terms=[LearnedDistanceConfig(), GoalDistance(weight=0.1)]),
    )
    actions, _ = play(agent, specs[:1], num_steps=6)
    assert np.isfinite(actions).all()


def test_term_weights_steps_like_goal_distance():
    latents, goal = torch.randn(2, 3, 4, 5, 2), torch.randn(2, 5, 2)
    for options in (
        {"when": "terminal"},
        {"when": "last_k", "k": 2},
        {"when": "running", "running_weight": 0.5},
    ):

        def mean_square(now, to):
            return (now - to).square().mean(-1)

        learned = LearnedDistance(head=mean_square, **options)(
            latents, goal, torch.zeros(2, 3, 4, 1)
        )
        torch.testing.assert_close(
            learned, GoalDistance(**options)(latents, goal, torch.zeros(2, 3, 4, 1))
        )


def test_build_sets_head_only_in_learned_terms_without_one():
    def head(now, goal):
        return (now - goal).abs().sum(-1)

    own = LearnedDistance(name="own", head=lambda now, goal: now.sum(-1))
    energy = EnergyConfig(terms=[LearnedDistanceConfig(), own, ActionEffort()]).build(head)
    assert [getattr(term, "head", None) for term in energy.terms] == [head, own.head, None]


def test_refuses_other_models_truncated_files_and_unfinished_runs(twin_folder, tmp_path):
    path = trained(twin_folder, tmp_path / "head")
    with pytest.raises(ValueError, match="world_model"):
        load_distance(path, task_id=TWO_ROOM, world_model=twin_folder / "other")
    with pytest.raises(ValueError, match="task_id"):
        load_distance(
            path, task_id="jepabench/PointMaze-UMaze-v1", world_model=twin_folder / "model"
        )
    with pytest.raises(ValueError, match="holds a run with seed=0"):
        train(
            task_id=TWO_ROOM,
            dataset=twin_folder / "data",
            world_model=twin_folder / "model",
            directory=path,
            seed=1,
            progress=False,
            **SHORT,
        )
    weights = path / "distance.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="Delete it and train again"):
        load_distance(path, task_id=TWO_ROOM, world_model=twin_folder / "model")
    with pytest.raises(ValueError, match="did not finish"):
        load_distance(tmp_path, task_id=TWO_ROOM, world_model=twin_folder / "model")
    with pytest.raises(ValueError, match="is of 'jepabench/TwoRoom-v1'"):
        train(
            task_id="jepabench/PointMaze-UMaze-v1",
            dataset=twin_folder / "data",
            world_model=twin_folder / "model",
            directory=tmp_path / "new",
            seed=0,
        )


def test_a_run_with_the_old_name_of_gamma_is_read_and_resumed(twin_folder, tmp_path):
    path = trained(twin_folder, tmp_path / "head", kind="value", gamma=0.9)
    for name in ("run.json", "training.json"):
        text = (path / name).read_text(encoding="utf-8")
        assert '"gamma": 0.9' in text
        (path / name).write_text(text.replace('"gamma"', '"discount"'), encoding="utf-8")
    head = load_distance(path, task_id=TWO_ROOM, world_model=twin_folder / "model")
    assert head.config.gamma == 0.9
    assert trained(twin_folder, path, kind="value", gamma=0.9) == path
    with pytest.raises(ValueError, match="holds a run with config="):
        trained(twin_folder, path, kind="value", gamma=0.8)


def test_a_run_without_radius_and_ridge_is_read_and_resumed_with_their_old_values(
    twin_folder, tmp_path
):
    settings = {"kind": "calibrated-value"}
    path = trained(twin_folder, tmp_path / "head", **settings, radius=0.5)
    for name in ("run.json", "training.json"):
        record = json.loads((path / name).read_text(encoding="utf-8"))
        assert record["config"].pop("radius") == 0.5
        assert record["config"].pop("ridge") == 0.1
        (path / name).write_text(json.dumps(record), encoding="utf-8")
    head = load_distance(path, task_id=TWO_ROOM, world_model=twin_folder / "model")
    assert (head.config.radius, head.config.ridge) == (0.5, 0.1)
    assert trained(twin_folder, path, **settings, radius=0.5) == path
    with pytest.raises(ValueError, match="holds a run with config="):
        trained(twin_folder, path, **settings)


def test_a_learned_distance_without_an_artifact_is_refused():
    with pytest.raises(ValueError, match="distance=FOLDER"):
        EnergyConfig(terms=[LearnedDistanceConfig()]).build(None)
    with pytest.raises(KeyError, match="value of when"):
        LearnedDistanceConfig(when="always")


def test_distance_and_proposals_are_trained_kept_and_planned_with_together(
    twin_folder, tmp_path, specs, play
):
    settings = {
        "dataset": twin_folder / "data",
        "world_model": twin_folder / "model",
        "seed": 0,
        "progress": False,
    }
    proposal = {"num_steps": 5, "max_goal_steps": 3, "history": 1}
    for name in ("policy", "again"):
        distance_and_proposals.train(
            task_id=TWO_ROOM,
            directory=tmp_path / name,
            kind="mahalanobis",
            proposal=proposal,
            **settings,
        )
    agents = [
        build_mpc(
            task_id=TWO_ROOM,
            world_model=twin_folder / "model",
            distance=tmp_path / name,
            proposals=tmp_path / name / "proposal",
            planner=PLANNER,
            shrinking=True,
            energy=EnergyConfig(terms=[LearnedDistanceConfig(running_weight=0.02)]),
        )
        for name in ("policy", "again")
    ]
    one, other = (play(agent, specs[:1], num_steps=6)[0] for agent in agents)
    assert np.isfinite(one).all() and np.array_equal(one, other)
    with pytest.raises(ValueError, match="proposal"):
        distance_and_proposals.train(
            task_id=TWO_ROOM,
            directory=tmp_path / "policy",
            kind="mahalanobis",
            proposal={**proposal, "num_steps": 6},
            **settings,
        )
