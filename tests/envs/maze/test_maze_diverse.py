import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.maze import diverse
from jepabench.envs.maze.layouts import LAYOUTS
from jepabench.envs.splits import episode_specs
from jepabench.envs.task import SPLITS

TASK = "jepabench/PointMaze-Diverse-v1"


@pytest.fixture(scope="module")
def env():
    return envs.make(TASK)


def drawn(split, count=40):
    rng = np.random.default_rng(0)
    return [diverse.draw_passages(rng, split=split) for _ in range(count)]


def reachable(rows):
    """Returns the cells that a flood fill from the top left room reaches."""
    seen, waiting = set(), [(1, 1)]
    while waiting:
        y, x = waiting.pop()
        if (y, x) not in seen and rows[y][x] == ".":
            seen.add((y, x))
            waiting += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    return seen


@pytest.mark.parametrize("split", SPLITS)
def test_every_maze_is_connected_and_closed(split):
    for passages in drawn(split):
        rows = diverse.maze(passages).rows
        assert len(rows) == 9 and {len(row) for row in rows} == {9}
        assert len(reachable(rows)) == "".join(rows).count(".") == 16 + passages.sum()
        assert set(rows[0] + rows[-1]) | {row[0] for row in rows} | {row[-1] for row in rows} == {
            "#"
        }
        assert 15 <= passages.sum() <= 15 + diverse.MAX_WAYS_ROUND


def test_each_maze_belongs_to_one_split_and_training_has_forty():
    by_split = {split: {passages.tobytes() for passages in drawn(split, 300)} for split in SPLITS}
    assert len(set.union(*by_split.values())) == sum(map(len, by_split.values()))
    assert (
        len({passages.tobytes() for passages in diverse.training_mazes()})
        == diverse.NUM_TRAINING_MAZES
    )
    assert by_split["train"] <= {passages.tobytes() for passages in diverse.training_mazes()}
    assert all(len(by_split[split]) > 250 for split in SPLITS[1:])
    for split in SPLITS:
        assert {diverse.find_split(passages) for passages in drawn(split)} == {split}


def test_the_split_of_a_maze_is_decided_in_the_stated_shares():
    rng = np.random.default_rng(0)
    splits = [
        diverse.find_split(rng.integers(2, size=diverse.NUM_PASSAGES).astype(float))
        for _ in range(3000)
    ]
    assert splits.count("train") / 3000 == pytest.approx(0.7, abs=0.03)
    assert all(splits.count(split) / 3000 == pytest.approx(0.1, abs=0.02) for split in SPLITS[1:])


@pytest.mark.parametrize(
    "layout", [*LAYOUTS.values(), *map(diverse.maze, diverse.training_mazes()[:8])]
)
def test_merged_boxes_are_the_wall_cells_without_overlap(layout):
    width, height = len(layout.rows[0]), len(layout.rows)
    x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, height / 2 - np.arange(height) - 0.5)
    cells = np.stack([x, y], axis=-1)[:, :, None]
    boxes = layout.merged_boxes()
    covered = ((cells > boxes[:, :2]) & (cells < boxes[:, 2:])).all(axis=-1).sum(axis=-1)
    assert np.array_equal(covered, [[int(cell == "#") for cell in row] for row in layout.rows])
    assert len(boxes) < 0.5 * len(layout.wall_boxes())


def test_the_observation_contains_the_passages(env):
    for split in ("train", "test"):
        observation, _ = env.reset(seed=5, options={"split": split})
        assert observation["observation"].shape == (28,)
        assert np.array_equal(observation["observation"][:2], observation["achieved_goal"])
        passages = observation["observation"][4:]
        assert set(passages) == {0.0, 1.0}
        assert diverse.maze(passages).rows == env.layout.rows
        assert diverse.find_split(passages) == split
    # The first passage is to the right of the room at the top left, the last one below the room in
    # row 3, column 4.
    first, last = np.eye(24)[[0, -1]]
    assert diverse.maze(first).rows[1][:4] == "#..."
    assert [row[7] for row in diverse.maze(last).rows[5:8]] == [".", ".", "."]


def test_the_ball_stays_in_free_cells(env):
    rng = np.random.default_rng(0)
    visited = 0
    for seed in range(4):
        env.reset(seed=seed, options={"split": "test"})
        cells = set()
        for force in rng.uniform(-1, 1, (25, 2)).repeat(25, axis=0):
            env._step_physics(force)
            x, y = env.arena.position
            for corner in ((x - 0.04, y), (x + 0.04, y), (x, y - 0.04), (x, y + 0.04)):
                row, column = int(4.5 - corner[1]), int(corner[0] + 4.5)
                assert env.layout.rows[row][column] == "."
                cells.add((row, column))
        visited += len(cells)
    assert visited > 20


def test_a_free_ball_moves_as_in_the_other_mazes(env):
    other = envs.make("jepabench/PointMaze-Medium-v1")
    for maze in (env, other):
        maze.reset(seed=0)
    env._set_physics(env.arena.state_at(np.array([-3.0, 3.0])))
    other._set_physics(other.arena.state_at(np.array([-2.5, 2.5])))
    for force in np.random.default_rng(0).uniform(-0.3, 0.3, (12, 2)):
        env._step_physics(force)
        other._step_physics(force)
        assert env.simulation.data.qvel == pytest.approx(other.simulation.data.qvel, abs=1e-12)
    assert env.simulation.data.ncon == other.simulation.data.ncon == 0


def test_draws_keep_to_their_stratum(env):
    for spec in episode_specs(TASK, "private", 10, salt=b"secret"):
        observation, info = envs.reset_to(env, spec)
        start, goal = observation["achieved_goal"], observation["desired_goal"]
        shortest, longest = diverse.STRATA[spec.stratum]
        assert shortest < env.free_space.lengths(start, goal[None])[0] <= longest
        assert info["budget"] >= 2 * info["reference_steps"] or info["budget"] == 50


def test_an_instance_in_another_maze_restores_maze_and_picture():
    first, second = (envs.make(TASK, pixels=48) for _ in range(2))
    first.reset(seed=1, options={"split": "test"})
    seen = first.step(np.array([0.3, 0.4]))[0]
    second.reset(seed=2)
    restored = second.restore(first.snapshot())
    assert all(np.array_equal(restored[key], seen[key]) for key in seen)
    again, _ = second.reset(seed=2)
    assert not np.array_equal(again["pixels"], seen["pixels"])


def test_the_picture_shows_the_maze(env):
    for seed in range(3):
        env.reset(seed=seed, options={"split": "test"})
        frame = env._frame(222).astype(
            int
        )  # 30 pixels a metre; the view begins 0.2 m outside the inner cells
        for row, cells in enumerate(env.layout.rows[1:-1]):
            for column, cell in enumerate(cells[1:-1]):
                patch = frame[
                    6 + 30 * row + 8 : 6 + 30 * row + 22, 6 + 30 * column + 8 : 6 + 30 * column + 22
                ]
                red, _, blue = np.median(patch.reshape(-1, 3), axis=0)
                assert (blue > 1.3 * red) == (cell == "#")


def test_the_expert_solves_mazes_that_it_has_never_seen(env):
    for spec in episode_specs(TASK, "test", 3):
        observation, info = envs.reset_to(env, spec)
        behaviour = make_behaviour(env.task, "expert")
        behaviour.reset(env, np.random.default_rng(0))
        held = 0
        for _ in range(info["budget"]):
            observation, _, _, _, info = env.step(behaviour.act(observation))
            held = held + 1 if info["is_success"] else 0
        assert held >= env.task.held_steps
