"""Numbers of episodes that a comparison needs."""

import numpy as np
import pytest

from jepabench.evaluation.statistics.intervals import StatisticsError
from jepabench.evaluation.statistics.power import episodes_needed


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((0.8, 0.9), 199),
        ((0.9, 0.95), 434),
        ((0.85, 0.9), 686),
        ((0.5, 0.6), 387),
        ((0.5, 0.7), 93),
    ],
)
def test_episodes_needed_unpaired(rates, expected):
    assert episodes_needed(*rates) == expected
    assert episodes_needed(*rates[::-1]) == expected


@pytest.mark.parametrize(("discordant", "expected"), [(0.14, 107), (0.20, 155), (0.26, 202)])
def test_episodes_needed_paired(discordant, expected):
    assert episodes_needed(0.8, 0.9, discordant=discordant) == expected


def test_episodes_needed_reaches_the_stated_power(generator):
    num_episodes = episodes_needed(0.8, 0.9, discordant=0.2)
    wins, losses = generator.multinomial(num_episodes, [0.15, 0.05, 0.8], 4000)[:, :2].T
    statistic = (wins - losses) / np.sqrt(wins + losses)
    assert np.mean(np.abs(statistic) > 1.96) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    "arguments",
    [
        {"first": 0.8, "second": 0.8},
        {"first": -0.1, "second": 0.8},
        {"first": 0.8, "second": 1.1},
        {"first": np.nan, "second": 0.8},
        {"first": 0.8, "second": 0.9, "power": 1.0},
        {"first": 0.8, "second": 0.9, "alpha": 0.0},
        {"first": 0.8, "second": 0.9, "discordant": 0.05},
        {"first": 0.8, "second": 0.9, "discordant": 0.31},
    ],
)
def test_episodes_needed_refuses_impossible_rates(arguments):
    with pytest.raises(StatisticsError):
        episodes_needed(**arguments)
