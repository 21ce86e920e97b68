import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jepabench.evaluation.statistics import aggregates as run_statistics
from jepabench.evaluation.statistics import intervals as statistics
from jepabench.evaluation.statistics.intervals import StatisticsError

# Computed with rliable 1.2.0 (arch 7.2.0, pandas 2.3.3, numpy 2.4.6) on these two matrices
# [runs, tasks]: metrics.aggregate_*, metrics.probability_of_improvement and
# library.create_performance_profile; intervals of the IQM with 20,000 resamples.
OURS = np.array(
    [
        [0.69, 1.07, 0.85],
        [0.25, 0.33, 0.96],
        [0.01, 0.9, 1.3],
        [0.51, 0.33, 0.31],
        [0.28, 0.49, 0.56],
    ]
)
THEIRS = np.array([[0.25, 1.0, 0.79], [0.62, 0.99, 0.22], [0.16, 0.33, 0.04], [0.04, 0.33, 0.47]])
RLIABLE = {
    "mean": (0.5893333333333334, 0.4366666666666667),
    "median": (0.624, 0.38),
    "iqm": (0.5522222222222223, 0.37000000000000005),
    "optimality_gap": (0.43533333333333324, 0.5633333333333332),
}
RLIABLE_PROFILE = [1.0, 14 / 15, 0.6, 0.4, 1 / 3, 2 / 15]
scores = arrays(
    np.float64,
    st.tuples(st.integers(1, 9), st.integers(1, 6)),
    elements=st.floats(-1, 2, allow_subnormal=False, width=32),
)


@pytest.mark.parametrize("name", RLIABLE)
def test_aggregates_agree_with_rliable(name):
    statistic = getattr(run_statistics, name)
    assert (statistic(OURS), statistic(THEIRS)) == pytest.approx(RLIABLE[name], abs=1e-12)


def test_performance_profile_agrees_with_rliable():
    profile = run_statistics.performance_profile(OURS, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert profile == pytest.approx(RLIABLE_PROFILE, abs=1e-12)


def test_probability_of_improvement_agrees_with_rliable():
    assert run_statistics.probability_of_improvement(OURS, THEIRS) == pytest.approx(
        0.6583333333333333, abs=1e-12
    )
    assert run_statistics.probability_of_improvement(THEIRS, OURS) == pytest.approx(
        0.3416666666666666, abs=1e-12
    )


@pytest.mark.parametrize(("matrix", "ends"), [(OURS, (0.38, 0.75)), (THEIRS, (0.22, 0.62))])
def test_bootstrap_interval_agrees_with_rliable(matrix, ends, generator):
    interval = run_statistics.stratified_bootstrap(run_statistics.iqm, matrix, generator=generator)
    assert (interval.low, interval.high) == pytest.approx(ends, abs=0.012)
    assert interval.estimate == run_statistics.iqm(matrix)
    assert interval.over == "runs"


@given(scores)
def test_iqm_is_scipys_trimmed_mean(matrix):
    assert run_statistics.iqm(matrix) == pytest.approx(
        scipy.stats.trim_mean(matrix, 0.25, axis=None), abs=1e-9
    )


@given(
    scores.flatmap(
        lambda first: st.tuples(
            st.just(first),
            arrays(np.float64, (4, first.shape[1]), elements=st.sampled_from([0.0, 0.5, 1.0])),
        )
    )
)
def test_probability_of_improvement_is_scipys_mann_whitney_statistic(pair):
    first, second = pair
    expected = np.mean(
        [
            scipy.stats.mannwhitneyu(first[:, task], second[:, task], method="asymptotic").statistic
            / (len(first) * len(second))
            for task in range(first.shape[1])
        ]
    )
    assert run_statistics.probability_of_improvement(first, second) == pytest.approx(
        expected, abs=1e-9
    )


@given(scores)
def test_leading_dimensions_are_kept(matrix):
    stacked = np.stack([matrix, matrix + 0.25])
    for statistic in (
        run_statistics.mean,
        run_statistics.median,
        run_statistics.iqm,
        run_statistics.optimality_gap,
    ):
        assert statistic(stacked) == pytest.approx(
            [statistic(matrix), statistic(matrix + 0.25)], abs=1e-9
        )
    profile = run_statistics.performance_profile(stacked, [0.1, 0.7])
    np.testing.assert_array_equal(
        profile[1], run_statistics.performance_profile(matrix + 0.25, [0.1, 0.7])
    )


def test_ties_count_as_half_an_improvement():
    assert run_statistics.probability_of_improvement(np.ones((3, 2)), np.ones((5, 2))) == 0.5


@pytest.mark.parametrize("successes", [0, 1, 37, 49, 50])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_interval_of_one_seed_is_scipys_exact_interval(successes, confidence):
    outcomes = (np.arange(50) < successes)[None]
    interval = statistics.cell_interval(outcomes, confidence=confidence)
    expected = scipy.stats.binomtest(successes, 50).proportion_ci(confidence, method="exact")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert interval.estimate == successes / 50


def test_interval_with_fewer_than_three_seeds_is_over_episodes():
    outcomes = (np.arange(100) < 80)[None]
    for seeds, over in ((1, "episodes"), (2, "episodes"), (3, "seeds and episodes")):
        assert statistics.cell_interval(np.repeat(outcomes, seeds, axis=0)).over == over


def test_two_identical_seeds_add_little_information():
    outcomes = (np.arange(100) < 80)[None]
    one, two = (statistics.cell_interval(np.repeat(outcomes, seeds, axis=0)) for seeds in (1, 2))
    assert 0.9 * (one.high - one.low) < two.high - two.low <= one.high - one.low


def test_cell_without_a_failure_is_not_certain():
    interval = statistics.cell_interval(np.ones((5, 100)))
    assert interval.high == 1.0
    # Between the rules of three for 100 and for 500 independent episodes.
    assert 1 - 5 / 100 < interval.low < 1 - 3 / 500
    one_failure = np.ones((5, 100))
    one_failure[2, 7] = 0
    assert statistics.cell_interval(one_failure).low < interval.low


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_aggregate_interval_of_equal_runs_is_as_wide_as_its_episodes_require(generator, rate):
    reach = run_statistics.episode_reach([np.full((3, 20), rate), np.full((3, 20), rate)])
    assert 0.05 < reach < 0.2  # 40 episodes; the rule of three for rates of 0 and 1
    for statistic in (run_statistics.iqm, run_statistics.mean, run_statistics.optimality_gap):
        interval = run_statistics.aggregate_interval(
            statistic, np.full((3, 2), rate), reach=reach, generator=generator, num_resamples=100
        )
        assert interval.high - interval.estimate == pytest.approx(reach)
        assert interval.estimate - interval.low == pytest.approx(reach)
    with pytest.raises(statistics.StatisticsError, match="reach must be above 0"):
        run_statistics.aggregate_interval(
            run_statistics.mean, np.ones((3, 2)), reach=0.0, generator=generator
        )


@pytest.mark.parametrize("episodes", range(2, 12))
def test_a_difference_on_all_episodes_is_certain_when_mcnemars_exact_test_rejects(episodes):
    interval = statistics.paired_difference(np.ones((1, episodes)), np.zeros((1, episodes)))
    assert (interval.low > 0) == (scipy.stats.binomtest(episodes, episodes).pvalue < 0.05)


@pytest.mark.parametrize("episodes", [2, 3, 5, 30])
@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize(("first", "second"), [(1, 0), (0, 1), (1, 1), (0, 0)])
def test_intervals_of_differences_have_a_width_and_stay_within_one(episodes, seeds, first, second):
    interval = statistics.paired_difference(
        np.full((seeds, episodes), first), np.full((seeds, episodes), second)
    )
    assert -1 <= interval.low < interval.high <= 1
    assert interval.low <= interval.estimate == first - second <= interval.high
    if episodes <= 5 and seeds == 1:
        assert interval.low <= 0 <= interval.high


binary = st.integers(0, 2**31).map(np.random.default_rng)


@given(
    binary, st.integers(1, 5), st.integers(1, 5), st.integers(2, 30), st.sampled_from([0.01, 0.5])
)
def test_intervals_stay_in_range_contain_the_estimate_and_have_a_width(
    rng, first, second, size, rate
):
    pair = [(rng.random((seeds, size)) < rate) * 1.0 for seeds in (first, second)]
    for interval, lowest in (
        (statistics.cell_interval(pair[0]), 0),
        (statistics.paired_difference(*pair), -1),
        (statistics.mean_over_cells([[pair[0]], [pair[1]]]), 0),
        (statistics.mean_over_cells([[pair[0]], [pair[1]]], [[pair[1]], [pair[0]]]), -1),
    ):
        assert lowest <= interval.low < interval.high <= 1
        assert interval.low - 1e-9 <= interval.estimate <= interval.high + 1e-9


def test_a_difference_is_antisymmetric(generator):
    pair = [(generator.random((seeds, 40)) < 0.6) * 1.0 for seeds in (3, 5)]
    there, back = statistics.paired_difference(*pair), statistics.paired_difference(*pair[::-1])
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)


def test_pairing_narrows_the_interval_of_a_difference(generator):
    difficulty = generator.random(200)
    ours, theirs = (
        generator.random((5, 200)) < 0.2 + 0.05 * better + 0.7 * (difficulty > 0.5)
        for better in (1, 0)
    )
    paired = statistics.paired_difference(ours, theirs)
    shuffled = statistics.paired_difference(ours, generator.permutation(theirs, axis=1))
    assert paired.estimate == pytest.approx(shuffled.estimate)
    assert paired.high - paired.low < 0.75 * (shuffled.high - shuffled.low)


def test_paired_difference_of_many_episodes_is_close_to_the_paired_t_interval(generator):
    ours, theirs = generator.random((2, 1, 400)) < np.array([0.8, 0.6])[:, None, None]
    interval = statistics.paired_difference(ours, theirs)
    gaps = ours[0].astype(float) - theirs[0]
    expected = scipy.stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.012)
    assert interval.over == "episodes"


def test_an_agent_compared_with_itself_is_a_tie(generator):
    outcomes = generator.random((5, 50)) < 0.5
    for seeds in (1, 5):
        interval = statistics.paired_difference(outcomes[:seeds], outcomes[:seeds])
        assert interval.low < 0 == interval.estimate < interval.high


def test_intervals_need_two_runs(generator):
    with pytest.raises(StatisticsError, match="at least 2 runs"):
        run_statistics.stratified_bootstrap(
            run_statistics.iqm, np.ones((1, 5)), generator=generator
        )


def test_nan_is_refused_everywhere(generator):
    broken = np.array([[0.5, np.nan], [0.2, 0.3], [0.1, 0.1]])
    calls = (
        lambda: run_statistics.mean(broken),
        lambda: run_statistics.median(broken),
        lambda: run_statistics.iqm(broken),
        lambda: run_statistics.optimality_gap(broken),
        lambda: run_statistics.performance_profile(broken, [0.5]),
        lambda: run_statistics.probability_of_improvement(broken, np.ones((2, 2))),
        lambda: run_statistics.probability_of_improvement(np.ones((2, 2)), broken),
        lambda: run_statistics.stratified_bootstrap(
            run_statistics.mean, broken, generator=generator
        ),
        lambda: statistics.cell_interval(broken),
        lambda: statistics.paired_difference(broken, np.ones((2, 2))),
    )
    for call in calls:
        with pytest.raises(StatisticsError, match="NaN"):
            call()


def test_shapes_that_do_not_fit_are_refused(generator):
    with pytest.raises(StatisticsError, match="same tasks"):
        run_statistics.probability_of_improvement(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(StatisticsError, match="need the same episodes"):
        statistics.paired_difference(np.ones((2, 4)), np.ones((2, 3)))
    with pytest.raises(StatisticsError, match="need the same training seeds"):
        statistics.mean_over_cells([[np.ones((2, 4)), np.ones((3, 4))]])
    with pytest.raises(StatisticsError, match="at least one cell"):
        statistics.mean_over_cells([])
    with pytest.raises(StatisticsError, match="runs, tasks"):
        run_statistics.iqm([0.1, 0.2])
    with pytest.raises(StatisticsError, match="shape"):
        run_statistics.iqm(np.zeros((0, 3)))
    with pytest.raises(StatisticsError, match="at least 2 episodes"):
        statistics.cell_interval(np.ones((3, 1)))
    with pytest.raises(StatisticsError, match="within 0 and 1"):
        statistics.cell_interval(np.full((3, 4), 100.0))
    with pytest.raises(StatisticsError, match="confidence"):
        statistics.cell_interval(np.ones((3, 4)), confidence=95)


def test_same_generator_gives_the_same_interval():
    first, second = (
        run_statistics.stratified_bootstrap(
            run_statistics.iqm, OURS, generator=np.random.default_rng(3), num_resamples=1000
        )
        for _ in range(2)
    )
    assert first == second


def test_two_sample_bootstrap_of_the_probability_of_improvement(generator):
    interval = run_statistics.stratified_bootstrap(
        run_statistics.probability_of_improvement,
        OURS,
        THEIRS,
        generator=generator,
        num_resamples=5000,
    )
    assert interval.low < interval.estimate < interval.high
    assert 0 <= interval.low and interval.high <= 1


def test_replicates_of_a_profile_keep_its_thresholds(generator):
    replicates = run_statistics.stratified_replicates(
        lambda drawn: run_statistics.performance_profile(drawn, [0.2, 0.8]),
        OURS,
        generator=generator,
        num_resamples=700,
    )
    assert replicates.shape == (700, 2)


def test_fifty_thousand_resamples_take_under_a_second(generator):
    matrix = generator.random((10, 8))
    began = time.process_time()
    run_statistics.stratified_bootstrap(
        run_statistics.iqm, matrix, generator=generator, num_resamples=50_000
    )
    assert time.process_time() - began < 1.5  # about 0.1 s on a quiet core; rliable takes 10 s
