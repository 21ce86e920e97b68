"""Test the graph of states against breadth-first search."""

from collections import deque

import numpy as np
import pytest
import torch

from jepabench.agents.build import build_mpc
from jepabench.agents.costs.energy import (
    EnergyConfig,
    GoalDistance,
    LearnedDistanceConfig,
)
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.subgoals.graph import (
    GraphSubgoals,
    GraphSubgoalsConfig,
    StateGraph,
    load_graph,
    train,
)

TWO_ROOM = "jepabench/TwoRoom-v1"
WALL = {(3, y) for y in range(6)}  # a wall in a 7 x 7 grid with a passage at the top
CELLS = [(x, y) for x in range(7) for y in range(7) if (x, y) not in WALL]
NODES = torch.tensor(CELLS, dtype=torch.float32)
PLANNER = CEMPlanner(horizon=2, num_samples=8, num_elites=2, num_iterations=2)


def walls_count(now, goal):
    """The straight distance, and 100 more through the wall."""
    through = ((now[..., 0] < 3) != (goal[..., 0] < 3)) & (
        torch.minimum(now[..., 1], goal[..., 1]) < 5.5
    )
    return (now - goal).square().sum(-1).sqrt() + 100 * through


@pytest.fixture
def grid():
    return StateGraph(NODES, walls_count, max_edge=1.1)


def steps_by_breadth_first(goal):
    steps, queue = {goal: 0}, deque([goal])
    while queue:
        x, y = queue.popleft()
        for cell in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            if cell in CELLS and cell not in steps:
                steps[cell] = steps[x, y] + 1
                queue.append(cell)
    return steps


@pytest.mark.parametrize("goal", [(6, 0), (0, 0), (3, 6)])
def test_path_lengths_agree_with_breadth_first_search(grid, goal):
    steps = steps_by_breadth_first(goal)
    np.testing.assert_allclose(
        grid.distances_to(torch.tensor(goal, dtype=torch.float32)), [steps[c] for c in CELLS]
    )


def test_edges_may_have_one_direction():
    def eastwards(now, goal):
        ahead = goal[..., 0] - now[..., 0]
        return torch.where(ahead >= 0, ahead, 100.0)

    graph = StateGraph(torch.arange(5.0)[:, None], eastwards, max_edge=1.0)
    np.testing.assert_allclose(graph.distances_to(torch.tensor([4.0])), [4, 3, 2, 1, 0])
    assert np.isinf(graph.distances_to(torch.tensor([0.0]))[1:]).all()


def test_subgoals_lead_around_the_wall(grid, specs):
    subgoals = GraphSubgoals(grid, reach=2.0)
    subgoals.reset(specs)
    here, goal, walked = torch.tensor([0.0, 0.0]), torch.tensor([6.0, 0.0]), 0.0
    while not torch.equal(here, goal):
        target = subgoals.choose(0, here, goal)
        leg = float(walls_count(here, target))
        assert 0 < leg <= 2.0, "through the wall, or nowhere"
        here, walked = target, walked + leg
    assert walked <= steps_by_breadth_first((6, 0))[0, 0]
    assert subgoals.model_steps.tolist() == [0] * len(specs)


def test_agent_returns_to_graph_and_without_path_pursues_goal(grid, specs):
    subgoals = GraphSubgoals(grid, reach=2.0)
    subgoals.reset(specs)
    lost = torch.tensor([0.0, -5.0])
    assert subgoals.choose(0, lost, torch.tensor([6.0, 0.0])).tolist() == [0.0, 0.0]
    islands = GraphSubgoals(
        StateGraph(torch.tensor([[0.0, 0.0], [9.0, 9.0]]), walls_count, max_edge=0.5), reach=0.1
    )
    islands.reset(specs)
    start, goal = torch.tensor([0.0, 0.0]), torch.tensor([9.0, 9.0])
    assert torch.equal(islands.choose(0, start, goal), goal)


def test_episodes_have_their_own_goals(grid, specs):
    subgoals = GraphSubgoals(grid, reach=1.0)
    here, east, north = torch.tensor([4.0, 3.0]), torch.tensor([6.0, 3.0]), torch.tensor([4.0, 6.0])
    subgoals.reset(specs)
    assert subgoals.choose(0, here, east).tolist() == [5.0, 3.0]
    assert subgoals.choose(1, here, north).tolist() == [4.0, 4.0]
    subgoals.reset(specs)
    assert subgoals.choose(0, here, north).tolist() == [4.0, 4.0]


@pytest.fixture(scope="module")
def trained(twin_folder):
    home = twin_folder
    train(
        task_id=TWO_ROOM,
        dataset=home / "data",
        world_model=home / "model",
        directory=home / "graph",
        seed=0,
        num_nodes=20,
        num_steps=3,
        batch_size=8,
        width=16,
        progress=False,
    )
    return home


def test_plans_from_subgoal_to_subgoal(trained, specs, play):
    agent = build_mpc(
        task_id=TWO_ROOM,
        world_model=trained / "model",
        subgoals=trained / "graph",
        subgoals_config=GraphSubgoalsConfig(max_edge=0.5, reach=0.1),
        distance=trained / "graph",
        planner=PLANNER,
        energy=EnergyConfig(terms=[GoalDistance(dims=(0, 2)), LearnedDistanceConfig()]),
    )
    together, _ = play(agent, specs[:3], num_steps=11)
    alone, _ = play(agent, specs[2:3], num_steps=11)
    assert np.array_equal(together[2], alone[0])
    assert agent.model_steps.tolist() == [3 * 2 * (8 * 2 + 1)], "searching a graph is no model step"


def test_the_nodes_are_frames_of_the_data(trained):
    graph = load_graph(
        trained / "graph", task_id=TWO_ROOM, world_model=trained / "model", max_edge=1e9
    )
    assert graph.nodes.shape == (20, 4) and graph.num_edges == 20 * 19
    assert np.isfinite(graph.distances_to(graph.nodes[0])).all()


def test_refuses_a_folder_without_nodes(trained, tmp_path):
    for name in ("run.json", "training.json", "distance.safetensors"):
        (tmp_path / name).write_bytes((trained / "graph" / name).read_bytes())
    with pytest.raises(ValueError, match="nodes"):
        load_graph(tmp_path, task_id=TWO_ROOM, world_model=trained / "model", max_edge=1.0)
    with pytest.raises(ValueError, match="num_nodes must be at least 2"):
        train(
            task_id=TWO_ROOM,
            dataset=trained / "data",
            world_model=trained / "model",
            directory=tmp_path / "new",
            seed=0,
            num_nodes=1,
        )
