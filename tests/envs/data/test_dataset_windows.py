"""Test windows, statistics and seeds of datasets."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_episodes import PROVENANCE, make_episode

from jepabench.envs.data.manifest import DatasetError
from jepabench.envs.data.writing import write_dataset


@pytest.fixture(scope="module")
def datasets_by_lengths(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("windows"), {}

    def get(lengths):
        if lengths not in made:
            episodes = [make_episode(n, seed=seed, pixels=None) for seed, n in enumerate(lengths)]
            made[lengths] = write_dataset(folder / str(len(made)), episodes, provenance=PROVENANCE)
        return made[lengths]

    return get


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6).map(tuple),
    num_frames=st.integers(1, 9),
    stride=st.integers(1, 5),
)
def test_windows_are_exactly_those_within_an_episode(
    datasets_by_lengths, lengths, num_frames, stride
):
    dataset = datasets_by_lengths(lengths)
    owner = np.repeat(np.arange(len(lengths)), np.array(lengths) + 1)
    within = np.concatenate([np.arange(length + 1) for length in lengths])
    expected = [
        row
        for row in range(len(owner) - num_frames + 1)
        if owner[row] == owner[row + num_frames - 1] and within[row] % stride == 0
    ]
    starts = dataset.window_starts(num_frames, stride=stride)
    assert starts.dtype == np.int64
    assert starts.tolist() == expected
    windows = dataset.gather("observation", starts, num_frames)
    for start, window in zip(starts, windows, strict=True):
        np.testing.assert_array_equal(
            window, dataset.field("observation")[start : start + num_frames]
        )
    for start in set(range(-2, len(owner) + 2)) - set(dataset.window_starts(num_frames).tolist()):
        with pytest.raises(ValueError, match="extends beyond its episode"):
            dataset.gather("observation", [start], num_frames)


def test_gather_writes_into_the_buffer_that_is_given(dataset):
    starts = dataset.window_starts(4)
    out = np.empty((len(starts), 4, 16, 16, 3), np.uint8)
    assert dataset.gather("pixels", starts, 4, out=out) is out
    np.testing.assert_array_equal(out, dataset.gather("pixels", starts, 4))
    for wrong in (
        out[:-1],
        out.astype(np.int8),
        np.empty((*out.shape[:-1], 6), np.uint8)[..., ::2],
    ):
        with pytest.raises(ValueError, match="out must be a contiguous"):
            dataset.gather("pixels", starts, 4, out=wrong)


def test_windows_of_no_frames_are_refused(dataset):
    with pytest.raises(ValueError, match="at least 1"):
        dataset.window_starts(0)
    with pytest.raises(ValueError, match="at least 1"):
        dataset.window_starts(2, stride=0)


def test_gather_reaches_half_the_speed_of_a_plain_copy(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (4001, 64, 64, 3), dtype=np.uint8)
    zeros = np.zeros((4001, 2))
    episode = make_episode(
        4000,
        pixels=None,
        observations={
            "observation": zeros,
            "achieved_goal": zeros,
            "desired_goal": zeros,
            "pixels": frames,
        },
    )
    dataset = write_dataset(tmp_path / "data", [episode], provenance=PROVENANCE)
    rng, out, gathered, copied = (
        np.random.default_rng(1),
        np.empty((64, 4, 64, 64, 3), np.uint8),
        [],
        [],
    )
    for _ in range(60):
        starts, first = rng.integers(0, 3997, 64), int(rng.integers(0, 3700))
        gathered.append(-time.perf_counter())
        dataset.gather("pixels", starts, 4, out=out)
        gathered[-1] += time.perf_counter()
        copied.append(-time.perf_counter())
        np.copyto(out.reshape(256, 64, 64, 3), frames[first : first + 256])
        copied[-1] += time.perf_counter()
    assert min(gathered) < 2 * min(copied) + 1e-4


def test_action_statistics_are_those_of_the_transitions(dataset, episodes):
    actions = np.concatenate([episode.actions for episode in episodes])
    mean, std = dataset.action_statistics()
    np.testing.assert_allclose(mean, actions.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, actions.std(0), rtol=1e-5)
    assert dataset.action_statistics()[0] is mean


def test_the_standard_deviation_of_constant_actions_is_not_zero(tmp_path):
    episode = make_episode(4, actions=np.full((4, 2), 0.5, np.float32))
    mean, std = write_dataset(
        tmp_path / "data", [episode], provenance=PROVENANCE
    ).action_statistics()
    assert mean.tolist() == [0.5, 0.5]
    assert (std > 0).all()


def test_specs_cycle_through_the_strata_and_continue_another_dataset():
    specs = [PROVENANCE.episode_spec(i) for i in range(5)]
    assert [(spec.stratum, spec.index) for spec in specs] == [
        ("near", 0),
        ("far", 0),
        ("near", 1),
        ("far", 1),
        ("near", 2),
    ]
    assert [replace(PROVENANCE, first_index=3).episode_spec(i) for i in range(2)] == specs[3:]
    with pytest.raises(DatasetError, match="have no specs"):
        replace(PROVENANCE, strata=()).episode_spec(0)
