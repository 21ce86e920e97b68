"""Test the tables that answer claims with several training seeds."""

import pandas as pd
import pytest

from jepabench.evaluation.statistics.intervals import mean_over_cells
from jepabench.results import contrasts, find_checkout


def cells(held: dict[str, list[str]], stratum: str = "near") -> list[dict]:
    return [
        {
            "suite": "claims",
            "task": "jepabench/TwoRoom-v1",
            "stratum": stratum,
            "agent": agent,
            "seed": seed,
            "held": text,
            "violations": 0.5 * seed,
            "model_steps": 10.0,
        }
        for agent, seeds in held.items()
        for seed, text in enumerate(seeds)
    ]


def test_an_agent_is_compared_with_the_reference_of_the_claim_on_the_same_episodes():
    rows = cells({"jepa-cem": ["1100", "1000"], "jepa-gradient": ["1110", "1111"]})
    table = contrasts.compare_claims(pd.DataFrame(rows))
    assert list(table["claim"]) == ["C5", "C5"]
    reference, row = table.iloc[0], table.iloc[1]
    assert (reference["agent"], reference["reference"]) == ("jepa-cem", "")
    assert reference["rate"] == pytest.approx(3 / 8)
    assert (row["agent"], row["reference"]) == ("jepa-gradient", "jepa-cem")
    assert (row["seeds"], row["episodes"]) == (2, 8)
    assert row["rate"] == pytest.approx(7 / 8)
    assert row["difference"] == pytest.approx(4 / 8)
    own, other = [[1, 1, 1, 0], [1, 1, 1, 1]], [[1, 1, 0, 0], [1, 0, 0, 0]]
    expected = mean_over_cells([[own]], [[other]])
    assert (row["difference_low"], row["difference_high"]) == (expected.low, expected.high)
    assert row["violations"] == pytest.approx(0.25)


def test_strata_count_equally_and_an_incomplete_agent_has_no_row():
    rows = cells({"jepa-cem": ["11"], "jepa-gradient": ["11"], "jepa-hybrid": ["11"]})
    rows += cells({"jepa-cem": ["00"], "jepa-gradient": ["11"]}, "far")
    table = contrasts.compare_claims(pd.DataFrame(rows))
    assert list(table["agent"]) == ["jepa-cem", "jepa-gradient"]
    assert set(table["strata"]) == {"near far"}
    assert table["difference"].iloc[1] == pytest.approx(0.5)


def test_the_committed_table_follows_from_the_committed_episodes(tmp_path):
    for name in (contrasts.EPISODES, contrasts.CLAIMS):
        source = find_checkout() / "results" / "tables" / name
        (tmp_path / name).write_bytes(source.read_bytes())
    committed = pd.read_csv(tmp_path / contrasts.CLAIMS)
    assert contrasts.main(["--tables", str(tmp_path)]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / contrasts.CLAIMS), committed, atol=1e-4)


def test_a_folder_without_results_is_refused_in_one_sentence(tmp_path, capsys):
    assert contrasts.main([str(tmp_path / "missing"), "--tables", str(tmp_path)]) == 2
    assert "no finished evaluation" in capsys.readouterr().err
    assert contrasts.main(["--tables", str(tmp_path)]) == 2
    assert "has no claim-episodes.csv; name an output folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_seeds_with_different_numbers_of_episodes_are_not_compared():
    rows = cells({"jepa-cem": ["1100", "10"], "jepa-gradient": ["1110", "1111"]})
    assert contrasts.compare_claims(pd.DataFrame(rows)).empty


def test_withheld_combinations_are_compared_with_each_seen_stratum_of_the_same_agent():
    rates = {"seen-state": "1111", "seen-action": "1100", "withheld": "1000"}
    agents = ("jepa", "jepa-reactive", "random")
    rows = [
        row | {"suite": "recombination", "task": "jepabench/TwoRoom-Recombination-v1"}
        for stratum, text in rates.items()
        for row in cells({agent: [text] * (1 + (agent != "random")) for agent in agents}, stratum)
    ]
    table = contrasts.compare_strata(pd.DataFrame(rows))
    assert set(table["agent"]) == {"jepa", "jepa-reactive"} and set(table["claim"]) == {"C18"}
    drops = table.set_index(["agent", "reference"])["difference"]
    assert drops["jepa", "jepa on seen-state"] == pytest.approx(-0.75)
    assert drops["jepa", "jepa on seen-action"] == pytest.approx(-0.25)
    between = contrasts.compare_claims(pd.DataFrame(rows))
    assert set(between["claim"]) == {"C18"} and set(between["strata"]) == set(rates)
