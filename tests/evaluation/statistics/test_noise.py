import numpy as np
import pytest

from jepabench.evaluation.statistics.intervals import StatisticsError
from jepabench.evaluation.statistics.noise import noise_share


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_without_noise_the_share_is_zero(generator):
    found = noise_share(np.tile(generator.random(50) < 0.6, (4, 1)))
    assert found == (0.0, 0.0, 0.0)


def test_noise_alone_is_the_whole_variance(generator):
    found = noise_share(generator.random((40, 400)) < 0.5)
    assert found.share == pytest.approx(1.0, abs=0.05)
    assert found.deviation == pytest.approx(np.sqrt(0.25 / 400), rel=0.05)
    assert found.changed > 0.99


def test_the_share_is_that_of_a_mixture_of_sure_and_random_episodes(generator):
    # Half of the episodes succeed with certainty or never, half at random: noise has one half.
    sure = np.tile(np.arange(500) % 2, (30, 1))
    outcomes = np.concatenate([sure, generator.random((30, 500)) < 0.5], axis=1)
    assert noise_share(outcomes).share == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("shape", [(1, 20), (3, 1), (20,)])
def test_two_streams_and_two_episodes_are_needed(shape):
    with pytest.raises(StatisticsError):
        noise_share(np.zeros(shape))


def test_equal_outcomes_have_no_noise_share():
    assert np.isnan(noise_share(np.ones((3, 5))).share)
