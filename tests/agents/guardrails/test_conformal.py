import numpy as np
import pytest

from jepabench.agents.guardrails.conformal import (
    TooFewScoresError,
    draw_one_per_group,
    lower_threshold,
    num_scores_needed,
    upper_threshold,
)


@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.3])
def test_the_guarantee_holds_for_an_unusual_distribution(alpha):
    rng = np.random.default_rng(0)
    scores = rng.standard_cauchy((4000, 61))
    exceeded = np.mean([new > upper_threshold(held_out, alpha) for *held_out, new in scores])
    assert exceeded <= alpha + 2.6 * np.sqrt(alpha * (1 - alpha) / 4000)
    assert exceeded > alpha - 1 / 61 - 2.6 * np.sqrt(
        alpha * (1 - alpha) / 4000
    )  # and it is not far too careful


def test_the_lower_threshold_mirrors_the_upper_threshold():
    scores = np.random.default_rng(1).normal(size=50)
    assert lower_threshold(scores, 0.1) == -upper_threshold(-scores, 0.1)


def test_an_unreachable_guarantee_is_refused():
    assert num_scores_needed(0.01) == 99
    assert upper_threshold(np.arange(99), 0.01) == 98
    with pytest.raises(TooFewScoresError, match="99 held-out episodes"):
        upper_threshold(np.arange(98), 0.01)
    with pytest.raises(ValueError, match="between 0 and 1"):
        upper_threshold(np.arange(9), 1.0)
    with pytest.raises(ValueError, match="NaN"):
        upper_threshold([1.0, np.nan] * 20, 0.5)


def test_each_episode_counts_once():
    groups = np.array([3, 3, 3, 7, 9, 9])
    seen = {
        tuple(groups[draw_one_per_group(groups, np.random.default_rng(seed))]) for seed in range(20)
    }
    assert seen == {(3, 7, 9)}
    assert (
        len({tuple(draw_one_per_group(groups, np.random.default_rng(seed))) for seed in range(20)})
        > 1
    )
