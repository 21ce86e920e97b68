"""Test cost tasks in the true environment, with a model of known dynamics."""

import numpy as np
import pytest
import torch

from jepabench.agents.build import build_mpc
from jepabench.agents.costs.cost_tasks import (
    AvoidChaser,
    FollowPath,
    GoTo,
    draw_assignment,
)
from jepabench.agents.costs.energy import Energy
from jepabench.agents.costs.paths import interpolate_path
from jepabench.agents.mpc import cost_agent as cost_planning
from jepabench.agents.mpc.agent import MPCAgent
from jepabench.agents.mpc.cost_agent import Directions, PlaceCost, load_places
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.scripted import ScriptedAgent
from jepabench.envs import episode_specs, make
from jepabench.envs.data.collect import collect
from jepabench.evaluation.cost_tasks import evaluate_cost_task, way
from jepabench.world_models.analysis.probes import fit_linear

TWO_ROOM = "jepabench/TwoRoom-v1"
CEM = CEMPlanner(horizon=4, num_samples=48, num_elites=8, num_iterations=4)


@pytest.fixture(scope="module")
def probe():
    places = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return fit_linear(places, places[:, :2], regularisation=1e-9)


def knowing(walk_model, probe, task):
    return MPCAgent(
        task_id=TWO_ROOM,
        model=walk_model(),
        planner=CEM,
        energy=Energy(terms=[PlaceCost(probe=probe, task=task)]),
        action_mean=np.zeros(2),
        action_std=np.ones(2),
        subgoals=Directions(task_id=TWO_ROOM, task=task, probe=probe, horizon=CEM.horizon),
    )


@pytest.fixture(scope="module")
def medium():
    """Four episodes whose straight way is free: the walk knows no walls."""
    env, found = make(TWO_ROOM), []
    for spec in episode_specs(TWO_ROOM, "test", 20, strata=("medium",)):
        goal = draw_assignment(GoTo(), env, spec).path[-1]
        if env.free_space.visible(env.restore(env.snapshot())["achieved_goal"], goal):
            found.append(spec)
    return found[:4]


@pytest.mark.parametrize(
    ("task", "unaware"),
    [(GoTo(), 1.0), (FollowPath(), 0.25), (AvoidChaser(), 0.5)],
    ids=["goto", "path", "chaser"],
)
def test_only_an_agent_that_knows_the_cost_task_solves_it(walk_model, probe, medium, task, unaware):
    rows = evaluate_cost_task(knowing(walk_model, probe, task), task, medium, agent_name="knows")
    assert rows["success"].mean() >= 0.75
    assert (rows["model_steps"] > 0).all() and list(rows["index"]) == [
        spec.index for spec in medium
    ]
    direct = evaluate_cost_task(ScriptedAgent(task_id=TWO_ROOM), task, medium, agent_name="expert")
    assert direct["success"].mean() <= unaware


def test_an_assignment_depends_on_the_episode_only_and_fits_the_world(medium):
    first, second = make(TWO_ROOM), make(TWO_ROOM)
    for spec in medium:
        path, again = (draw_assignment(FollowPath(), env, spec).path for env in (first, second))
        assert np.array_equal(path, again)
        assert first.free_space.contains(path).all()
        start = first.restore(first.snapshot())["achieved_goal"]
        shortest = first.free_space.lengths(start, path[-1:])[0]
        walked = np.linalg.norm(np.diff(np.vstack([start, path]), axis=0), axis=1).sum()
        assert walked > 1.05 * shortest and np.allclose(
            path[-1], first.restore(first.snapshot())["desired_goal"]
        )
        task = AvoidChaser()
        chaser = draw_assignment(task, first, spec).hazard
        assert (
            np.linalg.norm(chaser - start) > task.radius
            and np.linalg.norm(chaser - path[-1]) > task.radius
        )


def test_cost_of_chase_agrees_with_geometry():
    task = AvoidChaser(speed=0.1, radius=0.15, margin=0.1)
    ball = torch.tensor([[0.5, 0.0]]).expand(5, 2)
    chasers = task.chase(np.zeros(2), ball.double().numpy(), 0.1)
    assert np.allclose(chasers[:, 0], np.linspace(0, 0.5, 6))
    # At its heels from the fourth step on: what the cost charges is what the geometry says.
    directions = torch.tensor([[*[0.5, 0.0] * 5, 0.5, 0.0, 0.0, 0.0]])
    cost = float(task.cost(ball[None, None], directions))
    behind = 0.5 - 0.1 * np.arange(1, 21) / 4
    # within a quarter step: the chaser is looked at before it moves
    expected = 100 * np.square(np.clip(0.25 - (behind + 0.025), 0, None)).sum() / 4
    assert cost == pytest.approx(expected, rel=1e-3)


def test_interpolate_path_returns_points_by_arc_length():
    bends = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    assert interpolate_path(bends, np.array([0.5, 1.5, 9.0])).tolist() == [
        [0.5, 0.0],
        [1.0, 0.5],
        [1.0, 2.0],
    ]


def test_a_path_is_passed_in_order_only():
    env, task = make(TWO_ROOM), FollowPath()
    assignment = draw_assignment(task, env, episode_specs(TWO_ROOM, "test", 1)[0])
    assert task.score(assignment, assignment.path, env)["success"] == 1
    assert task.score(assignment, assignment.path[::-1], env)["passed"] < 1


def test_being_caught_before_the_goal_is_a_failure_and_after_it_is_not():
    env, task = make(TWO_ROOM), AvoidChaser(speed=1.0, gap=0.5)
    assignment = draw_assignment(task, env, episode_specs(TWO_ROOM, "test", 1)[0])
    start, goal = env.restore(env.snapshot())["achieved_goal"], assignment.path[-1]
    waiting = np.tile(start, (30, 1))
    assert task.score(assignment, np.vstack([waiting, goal]), env) == {
        "success": 0,
        "caught": 1,
        "arrived": 1,
    }
    assert task.score(assignment, np.vstack([start, goal, waiting]), env) == {
        "success": 1,
        "caught": 0,
        "arrived": 1,
    }
    assert task.score(assignment, waiting, env)["arrived"] == 0


def test_predicted_positions_agree_with_the_world(medium):
    env = make(TWO_ROOM)
    draw_assignment(GoTo(), env, medium[0])
    places = way(env, np.tile(np.float32([[0.0, 1.0]]), (5, 1)))
    assert places.shape == (6, 2) and np.allclose(places[1] - places[0], [0.0, 0.05], atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [lambda: FollowPath(pace=0), lambda: FollowPath(detour=(2, 1)), lambda: AvoidChaser(gap=0.1)],
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=r"got|not above"):
        wrong()


def test_a_world_without_a_map_is_refused():
    with pytest.raises(ValueError, match="needs a maze or a table"):
        draw_assignment(
            FollowPath(),
            make("jepabench/PushT-v1"),
            episode_specs("jepabench/PushT-v1", "test", 1)[0],
        )


def test_trained_probe_is_saved_checked_and_used_for_planning(save_twin, tmp_path, play):
    data = tmp_path / "data"
    collect(
        TWO_ROOM, data, num_episodes=12, num_steps=8, pixels=None, num_workers=1, progress=False
    )
    save_twin(tmp_path / "model", tmp_path / "other")
    paths = {"task_id": TWO_ROOM, "world_model": tmp_path / "model"}
    cost_planning.train(**paths, dataset=data, directory=tmp_path / "places", seed=0)
    read = load_places(tmp_path / "places", **paths)
    place = torch.tensor([[0.3, -0.2, 0.0, 0.3]])
    assert read(place)[0].tolist() == pytest.approx(
        [0.3, -0.2], abs=1e-2
    )  # the latent is the state itself
    agent = build_mpc(**paths, probe=tmp_path / "places", task=GoTo(), planner=CEM)
    actions, _ = play(agent, episode_specs(TWO_ROOM, "test", 1, strata=("near",)), num_steps=6)
    assert np.isfinite(actions).all()
    with pytest.raises(ValueError, match="expected"):
        load_places(tmp_path / "places", task_id=TWO_ROOM, world_model=tmp_path / "other")
    (tmp_path / "places" / "places.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="Delete it and train again"):
        load_places(tmp_path / "places", **paths)
