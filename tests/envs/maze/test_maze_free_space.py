import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from jepabench.envs import make
from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.maze.layouts import LAYOUTS

SPACING = 0.1
# Moves to 32 directions: along a straight line such a grid path is at most 1.3 % longer than the
# line.
MOVES = [(x, y) for x in range(-3, 4) for y in range(-3, 4) if np.gcd(x, y) == 1]


def maze_space(name):
    layout = LAYOUTS[name]
    inner = layout.half_size - 1.0
    return FreeSpace(
        bounds=np.concatenate([-inner, inner]), boxes=layout.obstacle_boxes(), clearance=0.2
    )


def grid_of(space):
    low, high = space.bounds[:2], space.bounds[2:]
    axes = [np.arange(a, b + 1e-9, SPACING) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_lengths_agree_with_dijkstra_on_a_fine_grid(name):
    space = maze_space(name)
    grid = grid_of(space)
    width, height, _ = grid.shape
    points = grid.reshape(-1, 2)
    free = np.flatnonzero(space.contains(points))
    edges = []
    for x, y in MOVES:
        columns, rows = np.meshgrid(np.arange(width), np.arange(height), indexing="ij")
        fits = (columns + x >= 0) & (columns + x < width) & (rows + y >= 0) & (rows + y < height)
        start = (columns * height + rows)[fits]
        start = start[np.isin(start, free)]
        end = start + x * height + y
        kept = np.isin(end, free)
        kept[kept] = space.visible(points[start[kept]], points[end[kept]])
        edges.append((start[kept], end[kept], np.full(kept.sum(), SPACING * np.hypot(x, y))))
    start, end, weight = (np.concatenate(part) for part in zip(*edges, strict=True))
    graph = coo_array((weight, (start, end)), shape=(len(points),) * 2).tocsr()
    for source in free[:: len(free) // 4]:
        expected = dijkstra(graph, indices=source)[free]
        lengths = space.lengths(points[source], points[free])
        assert np.isfinite(lengths).all()
        assert (lengths <= expected + 1e-4).all()
        assert (expected <= 1.02 * lengths + 2 * SPACING).all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_paths_are_free_and_have_the_stated_length(name):
    space, rng = maze_space(name), np.random.default_rng(0)
    for _ in range(30):
        start, goal = space.sample(rng)[0], space.sample(rng)[0]
        path = np.vstack([start, space.path(start, goal)])
        assert space.visible(path[:-1], path[1:]).all()
        length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
        assert length == pytest.approx(space.lengths(start, goal[None])[0])
        assert length == pytest.approx(space.lengths(goal, start[None])[0])


def test_a_line_along_a_box_is_free_and_a_line_through_it_is_not():
    space = FreeSpace(
        bounds=np.array([-2.0, -2, 2, 2]), boxes=np.array([[-0.5, -0.5, 0.5, 0.5]]), clearance=0.1
    )
    left, right = np.array([-1.0, 0.6]), np.array([1.0, 0.6])
    assert space.visible(left, right)
    assert not space.visible(left - [0, 0.01], right - [0, 0.01])
    assert not space.visible(np.array([0.0, -1.0]), np.array([0.0, 1.0]))
    assert space.visible(np.array([0.0, 0.7]), np.array([0.0, 1.0]))


def test_the_path_around_a_box_agrees_with_geometry():
    space = FreeSpace(
        bounds=np.array([-2.0, -2, 2, 2]), boxes=np.array([[-0.5, -1.9, 0.5, 0.5]]), clearance=0.0
    )
    start, goal = np.array([-1.5, 0.0]), np.array([1.5, 0.0])
    assert space.lengths(start, goal[None])[0] == pytest.approx(
        2 * np.hypot(1.0, 0.5) + 1.0, abs=1e-4
    )
    assert len(space.path(start, goal)) == 3


def test_unreachable_positions_are_infinitely_far():
    space = FreeSpace(
        bounds=np.array([-1.0, -1, 1, 1]), boxes=np.array([[-0.1, -1, 0.1, 1]]), clearance=0.05
    )
    start, goal = np.array([-0.5, 0.0]), np.array([0.5, 0.0])
    assert space.lengths(start, goal[None])[0] == np.inf
    assert np.array_equal(space.path(start, goal), goal[None])


def test_a_ball_that_touches_a_wall_is_next_to_a_free_place():
    space, rng = maze_space("large"), np.random.default_rng(0)
    places = np.vstack([space.sample(rng) for _ in range(20)])
    touching = places + rng.uniform(-0.14, 0.14, places.shape)
    moved = np.array([space.nearest(place) for place in touching])
    assert space.contains(moved).all()
    assert np.abs(moved - touching).max() <= 0.14 + 1e-5
    free = space.contains(touching)
    assert 0 < (~free).sum() and np.array_equal(moved[free], touching[free])


def test_impossible_draws_raise():
    space = maze_space("umaze")
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="There is no free position"):
        space.sample(rng, avoid=np.array([[-9.0, -9, 9, 9]]))
    with pytest.raises(ValueError, match=r"a path of 100 to 200 m"):
        space.sample_pair(rng, shortest=100, longest=200)


def test_obstacles_cover_the_same_cells_as_the_walls():
    for layout in LAYOUTS.values():
        inner = layout.half_size - 1.0
        points = np.random.default_rng(0).uniform(-inner, inner, (2000, 2))
        few = FreeSpace(
            bounds=np.concatenate([-inner, inner]), boxes=layout.obstacle_boxes(), clearance=0.0
        )
        many = FreeSpace(
            bounds=np.concatenate([-inner, inner]), boxes=layout.wall_boxes(), clearance=0.0
        )
        assert np.array_equal(few.contains(points), many.contains(points))


@pytest.mark.parametrize("task", ["jepabench/TwoRoom-v1", "jepabench/PointMaze-UMaze-v1"])
def test_the_path_distance_is_at_least_the_straight_line_and_zero_at_the_goal(task):
    env = make(task)
    for seed in range(5):
        observation, _ = env.reset(seed=seed, options={"stratum": "far"})
        goal = observation["desired_goal"]
        rng = np.random.default_rng(seed)
        points = env.free_space.sample(rng)[:5, None] + rng.uniform(
            -0.005, 0.005, (5, 4, 2)
        )  # contacts give way by so much
        ways = env.path_distance(points)
        assert ways.shape == (5, 4) and np.isfinite(ways).all()
        free = np.array([[env.free_space.nearest(point) for point in row] for row in points])
        assert (
            ways
            >= env.distance(free, np.broadcast_to(env.free_space.nearest(goal), free.shape)) - 1e-9
        ).all()
        assert env.path_distance(goal) == pytest.approx(0, abs=0.05)
