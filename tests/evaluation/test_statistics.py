import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit

from jepabench.evaluation.statistics import aggregates as run_statistics
from jepabench.evaluation.statistics import intervals as statistics
from jepabench.evaluation.statistics import rates as rates_module
from jepabench.evaluation.statistics.coverage import (
    QUANTITIES,
    Design,
    coverage_table,
    measure_coverage,
)
from jepabench.evaluation.statistics.coverage import _mean_logit as logit_of_mean
from jepabench.evaluation.statistics.intervals import StatisticsError
from jepabench.evaluation.statistics.power import episodes_needed

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


@pytest.fixture
def generator():
    return np.random.default_rng(20)


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


def test_all_ties_improve_on_half():
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


def test_two_identical_seeds_contain_little_more_information_than_one():
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


def draws(generator, *, seeds, seed_sd, shared, rate=0.7, episodes=100):
    """Outcomes [S, E] of seeds whose rate varies; shared episodes differ in difficulty."""
    difficulty = (
        generator.beta(2 * rate, 2 * (1 - rate), (1, episodes))
        if shared
        else np.full((1, episodes), rate)
    )
    chance = np.clip(difficulty + generator.normal(0, seed_sd, (seeds, 1)), 0, 1)
    return generator.random((seeds, episodes)) < chance


def true_rate(generator, *, seed_sd, shared, rate=0.7):
    difficulty = generator.beta(2 * rate, 2 * (1 - rate), 1_000_000) if shared else rate
    return np.clip(difficulty + generator.normal(0, seed_sd, 1_000_000), 0, 1).mean()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_cell_interval_covers_when_episodes_differ_in_difficulty(generator, seeds, shared):
    truth = true_rate(generator, seed_sd=0.05, shared=shared)
    trials = [
        statistics.cell_interval(draws(generator, seeds=seeds, seed_sd=0.05, shared=shared))
        for _ in range(1000)
    ]
    assert np.mean([trial.low <= truth <= trial.high for trial in trials]) >= 0.93


def check_coverage(table):
    failed = table[(table["coverage"] < 0.93) | (table["width"] > 2.0)]
    assert failed.empty, failed.to_string()


@pytest.mark.slow
def test_intervals_cover_in_every_cell_and_are_at_most_twice_as_wide_as_needed():
    check_coverage(coverage_table())


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("rate", [0.02, 0.5, 0.98])
def test_intervals_of_few_episodes_cover(quantity, rate, generator):
    for seeds, spread in ((1, 0.0), (3, 0.5)):
        design = Design(seeds=seeds, episodes=20, rate=rate, spread=spread)
        coverage, width = measure_coverage(quantity, design, trials=1500, generator=generator)
        assert coverage >= 0.93
        assert width <= 2.1


@pytest.mark.parametrize("strata", [1, 3])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_means_over_cells_cover(generator, strata, spread):
    rates, trials, seeds = (0.5, 0.9, 0.3)[:strata], 1000, 3
    tasks = []
    for _ in range(2):
        shift = spread * generator.standard_normal((trials, seeds, 1))
        tasks.append(
            [
                (generator.random((trials, seeds, 50)) < expit(logit_of_mean(rate, spread) + shift))
                * 1.0
                for rate in rates
            ]
        )
    found = rates_module.rate_limits(tasks, 0.95)
    truth = np.mean(rates)
    assert ((found.low <= truth) & (truth <= found.high)).mean() >= 0.93
    found = rates_module.difference_limits(tasks, tasks[::-1], 0.95)
    assert ((found.low <= 0) & (found.high >= 0)).mean() >= 0.93


@pytest.mark.parametrize("statistic", [run_statistics.iqm, run_statistics.optimality_gap])
def test_aggregate_intervals_reach_nominal_coverage_at_five_seeds_unlike_percentile_bootstraps(
    generator, statistic
):
    groups = np.repeat(np.arange(4), 3)  # strata of a task share its trained agents
    centers = generator.uniform(0.3, 0.9, 12)

    def scores(count):
        shift = generator.normal(0, 0.08, (count, 4))[:, groups]
        return centers + shift + generator.normal(0, 0.05, (count, 12))

    truth, ours, theirs = float(statistic(scores(40_000))), 0, 0
    for _ in range(1000):
        drawn = scores(5)
        interval = run_statistics.aggregate_interval(
            statistic, drawn, reach=1e-9, generator=generator, groups=groups, num_resamples=500
        )
        ours += interval.low <= truth <= interval.high
        usual = run_statistics.stratified_bootstrap(
            statistic, drawn, generator=generator, num_resamples=500
        )
        theirs += usual.low <= truth <= usual.high
    assert 0.93 <= ours / 1000 <= 0.97
    assert theirs / 1000 < 0.85


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


def test_percentile_bootstrap_of_three_seeds_covers_less(generator):
    """Show why ``cell_interval`` is not a percentile bootstrap over seeds."""
    hits = 0
    for _ in range(300):
        means = draws(generator, seeds=3, seed_sd=0.05, shared=False).mean(axis=1, keepdims=True)
        interval = run_statistics.stratified_bootstrap(
            run_statistics.mean, means, generator=generator, num_resamples=500
        )
        hits += interval.low <= 0.7 <= interval.high
    assert hits / 300 < 0.85


@pytest.mark.parametrize("seeds", [(3, 3), (5, 5), (5, 1)])
def test_paired_difference_covers_when_episodes_differ_in_difficulty(generator, seeds):
    hits = 0
    for _ in range(800):
        difficulty = generator.uniform(0.3, 0.9, 100)
        rates = [
            difficulty + shift + (generator.normal(0, 0.03, (count, 1)) if count > 1 else 0.0)
            for count, shift in zip(seeds, (0.0, -0.1), strict=True)
        ]
        pair = [
            generator.random(rate.reshape(count, 100).shape) < rate
            for rate, count in zip(rates, seeds, strict=True)
        ]
        interval = statistics.paired_difference(*pair)
        hits += interval.low <= 0.1 <= interval.high
    assert hits / 800 >= 0.93


@pytest.mark.parametrize("episodes", range(2, 12))
def test_a_difference_on_all_episodes_is_certain_when_mcnemars_exact_test_rejects(episodes):
    interval = statistics.paired_difference(np.ones((1, episodes)), np.zeros((1, episodes)))
    assert (interval.low > 0) == (scipy.stats.binomtest(episodes, episodes).pvalue < 0.05)


@pytest.mark.parametrize("episodes", [2, 3, 5, 30])
@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize(("first", "second"), [(1, 0), (0, 1), (1, 1), (0, 0)])
def test_no_difference_is_certain_and_none_is_beyond_one(episodes, seeds, first, second):
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


def test_episodes_needed_gives_the_power_it_promises(generator):
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
def test_episodes_needed_refuses_what_can_not_be(arguments):
    with pytest.raises(StatisticsError):
        episodes_needed(**arguments)


def test_intervals_need_two_runs(generator):
    with pytest.raises(StatisticsError, match="2 runs or more"):
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


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_probability_of_improvement_has_an_interval_that_covers(generator, seeds):
    assert run_statistics.improvement_interval(np.ones((3, 1)), np.zeros((3, 1))).low < 0.5
    truth, hits = float(scipy.stats.norm.cdf(1 / 2**0.5)), 0
    for _ in range(500):
        pair = generator.normal(1, 1, (seeds, 2)), generator.normal(0, 1, (seeds, 2))
        interval = run_statistics.improvement_interval(*pair)
        assert 0 <= interval.low < interval.high <= 1
        hits += interval.low <= truth <= interval.high
    assert hits / 500 >= 0.93


def test_replicates_of_a_profile_keep_its_thresholds(generator):
    replicates = run_statistics.stratified_replicates(
        lambda drawn: run_statistics.performance_profile(drawn, [0.2, 0.8]),
        OURS,
        generator=generator,
        num_resamples=700,
    )
    assert replicates.shape == (700, 2)


def test_fifty_thousand_resamples_take_no_time(generator):
    matrix = generator.random((10, 8))
    began = time.process_time()
    run_statistics.stratified_bootstrap(
        run_statistics.iqm, matrix, generator=generator, num_resamples=50_000
    )
    assert time.process_time() - began < 1.5  # about 0.1 s on a quiet core; rliable takes 10 s
