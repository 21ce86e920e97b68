import dataclasses

import numpy as np
import pandas as pd
import pytest
from point_world import POINT, Greedy, RandomStreams

from jepabench.envs import episode_specs
from jepabench.evaluation.records import EpisodeRecord, RecordError, records_frame
from jepabench.evaluation.references import Track
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.statistics import aggregates as run_statistics
from jepabench.evaluation.statistics import intervals as statistics
from jepabench.evaluation.statistics.success_tables import (
    aggregate_table,
    comparison_table,
    score_matrix,
    score_table,
)

ROW = EpisodeRecord(
    agent="a",
    training_seed=0,
    task_id="t/One-v1",
    split="test",
    stratum="near",
    index=0,
    success_ever=True,
    success_final=False,
    success_held=True,
    joint_ever=True,
    strict_held=False,
    distance_start=1.0,
    distance_final=0.5,
    distance_min=0.1,
    steps=50,
    reference_steps=20,
    first_success_step=3,
    violations=5,
    planning_seconds=0.1,
    planning_ms_median=2.0,
    planning_ms_p95=4.0,
    model_steps=1000,
    return_=-40.0,
)


def rows(agent, held, *, task="t/One-v1", stratum="near", **changes):
    """Records of an agent from its held flags [seeds, episodes]."""
    return [
        dataclasses.replace(
            ROW,
            agent=agent,
            task_id=task,
            stratum=stratum,
            training_seed=seed,
            index=index,
            success_held=bool(flag),
            **changes,
        )
        for seed, flags in enumerate(np.atleast_2d(held))
        for index, flag in enumerate(flags)
    ]


def flags(rate, *, seeds=1, episodes=40, shift=0):
    """Flags [seeds, episodes] with exactly this rate, the failures of each seed shifted."""
    first = np.arange(episodes) < round(rate * episodes)
    return np.stack([np.roll(first, seed + shift) for seed in range(seeds)])


@pytest.fixture
def generator():
    return np.random.default_rng(8)


@pytest.fixture
def suite():
    """Two tasks; references, two good agents and a bad one."""
    records = []
    for task, difficulty in (("t/One-v1", 0.0), ("t/Two-v1", 0.1)):
        records += rows("oracle-cem", flags(0.9), task=task)
        records += rows("good", flags(0.8 - difficulty, seeds=5), task=task)
        records += rows("alike", flags(0.775 - difficulty, seeds=5, shift=20), task=task)
        records += rows("bad", flags(0.3 - difficulty, seeds=3), task=task)
        records += rows("random", flags(0.1), task=task)
    return records_frame(records)


def test_score_table_has_one_row_per_cell_in_the_given_order(suite):
    table = score_table(suite)
    assert list(zip(table["task"], table["agent"], strict=True)) == [
        (task, agent)
        for task in ("t/One-v1", "t/Two-v1")
        for agent in ("oracle-cem", "good", "alike", "bad", "random")
    ]
    expected = (
        "task stratum agent episodes seeds success_held success_ever success_final held_low "
        "held_high interval_over normalised tied_with_best ms_per_step ms_p95 model_steps "
        "violation_rate joint_ever strict_held"
    )
    assert list(table.columns) == expected.split()


def test_kinds_follow_from_tracks_where_they_are_known(suite):
    tracks = {"good": Track("state", "none", "simulator"), "bad": Track("none", "none", "none")}
    table = score_table(suite, tracks=tracks).set_index("agent")
    kinds = table["kind"].groupby("agent").first().to_dict()
    assert kinds == {
        "oracle-cem": "ceiling",
        "good": "ceiling",
        "alike": "learned",
        "bad": "floor",
        "random": "floor",
    }
    assert not table.loc[["good", "bad"], "tied_with_best"].any()
    assert table.loc["alike", "tied_with_best"].all()


def test_score_table_numbers_are_those_of_the_records(suite):
    row = score_table(suite).set_index(["task", "agent"]).loc[("t/Two-v1", "good")]
    assert (row["episodes"], row["seeds"]) == (40, 5)
    assert row["success_held"] == pytest.approx(0.7)
    assert (row["success_ever"], row["success_final"]) == (1.0, 0.0)
    assert row["normalised"] == pytest.approx((0.7 - 0.1) / (0.9 - 0.1))
    assert (row["ms_per_step"], row["ms_p95"]) == (2.0, 4.0)
    assert row["model_steps"] == 1000 / 50
    assert row["violation_rate"] == 5 / 50
    interval = statistics.cell_interval(flags(0.7, seeds=5))
    assert (row["held_low"], row["held_high"], row["interval_over"]) == (
        interval.low,
        interval.high,
        "seeds and episodes",
    )


def test_one_seed_is_labelled_as_over_episodes_only(suite):
    table = score_table(suite).set_index("agent")
    assert set(table.loc["random", "interval_over"]) == {"episodes"}


def test_rows_in_another_order_give_the_same_scores(suite):
    shuffled = suite.sample(frac=1, random_state=3)
    keys = ["task", "agent"]
    first, second = (
        score_table(frame).sort_values(keys).reset_index(drop=True) for frame in (suite, shuffled)
    )
    pd.testing.assert_frame_equal(first, second)


def test_ties_with_the_best_are_named_and_references_are_not_the_best(suite):
    table = score_table(suite)
    assert set(table.loc[table["tied_with_best"], "agent"]) == {"good", "alike"}


def test_normalised_score_needs_both_references_and_a_better_oracle(suite):
    assert score_table(suite[suite["agent"] != "random"])["normalised"].isna().all()
    assert score_table(suite[suite["agent"] != "oracle-cem"])["normalised"].isna().all()
    useless = score_table(suite, oracles=["random"])
    assert useless["normalised"].isna().all()
    other = score_table(suite, oracles=["none", "good"]).set_index(["task", "agent"])
    assert other.loc[("t/One-v1", "oracle-cem"), "normalised"] == pytest.approx(0.8 / 0.7)


def test_cells_with_different_episodes_per_agent_are_refused():
    full, short = rows("a", flags(0.5)), rows("b", flags(0.5))[:-1]
    with pytest.raises(RecordError, match="b with training seed 0 has 39 rows for 40 episodes"):
        score_table(records_frame(full + short))
    missing_seed = rows("a", flags(0.5, seeds=2))[:-3]
    with pytest.raises(RecordError, match="a with training seed 1 has 37 rows"):
        score_table(records_frame(missing_seed))
    with pytest.raises(RecordError, match="exactly once"):
        score_table(records_frame(full + full[:1]))
    with pytest.raises(RecordError, match="one split, got test, validation"):
        score_table(records_frame(full + rows("b", flags(0.5), split="validation")))
    with pytest.raises(RecordError, match="no records"):
        score_table(records_frame(full)[:0])


def test_comparison_is_paired_and_antisymmetric(suite):
    pairs = [("good", "bad"), ("bad", "good"), ("good", "alike")]
    table = comparison_table(suite, pairs=pairs).set_index(["task", "first", "second"])
    ahead, behind = table.loc[("t/One-v1", "good", "bad")], table.loc[("t/One-v1", "bad", "good")]
    assert ahead["difference"] == pytest.approx(0.5) and behind["difference"] == pytest.approx(-0.5)
    assert ahead["low"] == pytest.approx(-behind["high"], abs=0.02)
    assert ahead["distinguishable"] and behind["distinguishable"]
    assert (ahead["probability_of_improvement"], behind["probability_of_improvement"]) == (1.0, 0.0)
    tie = table.loc[("t/One-v1", "good", "alike")]
    assert not tie["distinguishable"] and tie["low"] < 0 < tie["high"]


def test_comparison_of_all_pairs_and_of_an_agent_that_is_not_there(suite):
    assert len(comparison_table(suite)) == 2 * 10
    with pytest.raises(RecordError, match="no records of agent 'god'"):
        comparison_table(suite, pairs=[("god", "good")])


def test_a_ceiling_may_have_fewer_episodes():
    ours = rows("a", np.arange(8) % 2 == 0)
    ceiling = rows("oracle-cem", np.ones(4))
    records = records_frame(ours + ceiling)
    assert score_table(records).set_index("agent")["episodes"].to_dict() == {
        "a": 8,
        "oracle-cem": 4,
    }
    shared = comparison_table(records).iloc[0]
    assert abs(shared["difference"]) == pytest.approx(0.5)  # a holds 2 of the 4 shared episodes
    with pytest.raises(RecordError, match="oracle-cem with training seed 1 has 3 rows for 4"):
        score_table(records_frame(ours + rows("oracle-cem", np.ones((2, 4)))[:-1]))


def test_discordant_episodes_are_solved_by_one_of_two_agents():
    ours, theirs = np.zeros((1, 40)), np.zeros((1, 40))
    ours[0, :10], theirs[0, 5:12] = 1, 1
    table = comparison_table(records_frame(rows("a", ours) + rows("b", theirs)))
    assert table["discordant"].item() == (5 + 2) / 40


def test_score_matrix_is_runs_by_cells(suite):
    raw = score_matrix(suite, "good", normalise=False)
    assert raw == pytest.approx(np.tile([0.8, 0.7], (5, 1)))
    assert score_matrix(suite, "good") == pytest.approx((raw - 0.1) / 0.8)
    assert score_matrix(suite, "random") == pytest.approx(np.zeros((1, 2)))
    assert score_matrix(suite, "oracle-cem") == pytest.approx(np.ones((1, 2)))


def test_score_matrix_refuses_missing_agents_cells_and_seeds(suite):
    with pytest.raises(RecordError, match="no records of agent 'god'"):
        score_matrix(suite, "god")
    with pytest.raises(
        RecordError, match="normalised scores need agents 'random' and 'oracle-cem'"
    ):
        score_matrix(suite[suite["agent"] != "random"], "good")
    fewer = suite[(suite["task_id"] == "t/One-v1") | (suite["training_seed"] == 0)]
    with pytest.raises(
        RecordError,
        match=r"good: t/Two-v1, near has training seeds \[0\], others have \[0, 1, 2, 3, 4\]",
    ):
        score_matrix(fewer, "good")


def test_aggregate_table_is_rliables_statistics_of_the_score_matrix(suite, generator):
    table = aggregate_table(suite, generator=generator, num_resamples=500).set_index("agent")
    assert list(table.index) == ["good", "alike", "bad"]
    scores = score_matrix(suite, "bad")
    for name in ("iqm", "mean", "median", "optimality_gap"):
        assert table.loc["bad", name] == getattr(run_statistics, name)(scores)
        assert (
            table.loc["bad", f"{name}_low"]
            < table.loc["bad", name]
            < table.loc["bad", f"{name}_high"]
        )
    one_seed = aggregate_table(suite, generator=generator, agents=["random"], normalise=False)
    assert one_seed["iqm"].item() == pytest.approx(0.1) and np.isnan(one_seed["iqm_low"].item())


def test_tables_of_a_real_evaluation():
    specs = episode_specs(POINT.id, "test", 10)
    records = [
        record
        for name, agent in (("expert", Greedy()), ("random", RandomStreams()))
        for record in evaluate_episodes(agent, specs, agent_name=name, batch_size=20).records
    ]
    table = score_table(records_frame(records)).set_index(["stratum", "agent"])
    assert table.loc[("far", "expert"), "success_held"] == 1.0
    assert table.loc[("far", "expert"), "normalised"] == 1.0
    assert table.loc[("far", "random"), "success_held"] < 0.2
    assert table.loc[("far", "random"), "model_steps"] == 1.0
    assert not table["tied_with_best"].any()
