import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree

from jepabench.envs.particles.clouds import as_points, chamfer_distance, nearest, paired_distance

seeds = st.integers(0, 2**32 - 1)


def by_kd_trees(first, second):
    there, back = KDTree(second).query(first)[0], KDTree(first).query(second)[0]
    return (there.mean() + back.mean()) / 2


@given(seeds, st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=40, deadline=None)
def test_chamfer_distance_agrees_with_scipys_nearest_neighbours(seed, num_first, num_second):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(num_first, 2)), rng.normal(size=(num_second, 2))
    assert chamfer_distance(first, second) == pytest.approx(by_kd_trees(first, second), rel=1e-12)
    there, back = nearest(first, second)
    assert there == pytest.approx(KDTree(second).query(first)[0])
    assert back == pytest.approx(KDTree(first).query(second)[0])


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_chamfer_distance_ignores_order_and_is_symmetric(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, 30, 2))
    shuffled = rng.permutation(first)
    assert chamfer_distance(first, shuffled) == 0.0
    assert chamfer_distance(shuffled, second) == pytest.approx(
        chamfer_distance(second, first), rel=1e-12
    )


def test_batched_rows_give_same_numbers_as_single_rows():
    first, second = np.random.default_rng(0).normal(size=(2, 150, 12, 2))
    together = chamfer_distance(first, second)
    assert together.shape == (150,)
    assert np.array_equal(
        together, [chamfer_distance(*pair) for pair in zip(first, second, strict=True)]
    )


def test_leading_dimensions_broadcast():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(3, 1, 5, 2)), rng.normal(size=(4, 7, 2))
    pairs = chamfer_distance(first, second)
    assert pairs.shape == (3, 4)
    assert pairs[2, 1] == chamfer_distance(first[2, 0], second[1])
    assert chamfer_distance(first[:0], second).shape == (0, 4)


def test_paired_distance_may_count_from_either_end():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(9, 2))
    assert paired_distance(points, points) == paired_distance(points[::-1], points) == 0.0
    assert paired_distance(points, points + np.array([3.0, 4.0])) <= 5.0
    line = np.stack([np.arange(9.0), np.zeros(9)], axis=-1)
    assert paired_distance(line, line + np.array([0.0, 2.0])) == pytest.approx(2.0)
    assert paired_distance(np.stack([line, line[::-1]]), line).tolist() == [0.0, 0.0]


def test_flattened_goals_list_x_before_y():
    assert as_points(np.array([[1, 2, 3, 4]])).tolist() == [[[1.0, 2.0], [3.0, 4.0]]]
