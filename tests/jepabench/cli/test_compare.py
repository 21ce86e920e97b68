import dataclasses

import pandas as pd
import pytest
from result_rows import RECORD

from jepabench.cli.benchmark.compare import _film_flips, difference_table, find_flips
from jepabench.cli.benchmark.power import typical_discordance
from jepabench.evaluation.records import records_frame
from jepabench.main import main


def records(agent, held, task="a/One-v1"):
    """Records of an agent from its held flags [seeds, episodes]."""
    return [
        dataclasses.replace(
            RECORD,
            agent=agent,
            task_id=task,
            training_seed=seed,
            index=index,
            success_held=bool(flag),
        )
        for seed, row in enumerate(held)
        for index, flag in enumerate(row)
    ]


@pytest.fixture
def pair():
    rows = records("a", [[1, 1, 1, 0], [1, 1, 0, 0]]) + records("b", [[1, 0, 0, 1]])
    rows += records("a", [[1] * 8] * 2, "a/Two-v1") + records("b", [[0] * 8], "a/Two-v1")
    frame = records_frame(rows)
    return frame.assign(
        episode=frame["task_id"] + "|" + frame["stratum"] + "|" + frame["index"].astype(str)
    )


def test_differences_are_paired_for_each_cell_and_for_all(pair):
    table = difference_table(pair, "a", "b").set_index("task")
    assert table["difference"].to_dict() == pytest.approx(
        {"a/One-v1": 0.125, "a/Two-v1": 1.0, "all": 8.5 / 12}
    )
    assert table["distinguishable"].to_dict() == {"a/One-v1": False, "a/Two-v1": True, "all": True}
    assert table.loc["a/One-v1", "low"] <= 0.125 <= table.loc["a/One-v1", "high"]
    assert difference_table(pair, "b", "a").set_index("task").loc[
        "all", "difference"
    ] == pytest.approx(-8.5 / 12)


def test_flipped_episodes_are_those_with_another_share_of_seeds_the_largest_first(pair):
    flips = find_flips(pair, "a", "b")
    assert len(flips) == 3 + 8
    one = flips[flips["task"] == "a/One-v1"].set_index("index")
    assert one[["first", "second"]].to_dict("index") == {
        1: {"first": 1.0, "second": 0.0},
        2: {"first": 0.5, "second": 0.0},
        3: {"first": 0.0, "second": 1.0},
    }
    assert (flips["first"] - flips["second"]).abs().is_monotonic_decreasing


def test_agents_without_flipped_episodes_have_no_films_and_no_progress_bar(pair, tmp_path, capsys):
    equal = pair[pair["agent"] == "a"]
    equal = pd.concat([equal, equal.assign(agent="b")], ignore_index=True)
    flips = find_flips(equal, "a", "b")
    assert flips.empty and _film_flips(equal, flips, ("a", "b"), tmp_path, 3) == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["jepa-cem", "hold-stil"], "Did you mean 'hold-still'"),
        (["random", "random"], "cannot be compared with itself"),
        (["random", "hold-still"], "Not done yet: evaluate random"),
    ],
)
def test_an_impossible_comparison_states_the_reason(arguments, message, tmp_path, capsys):
    assert main(["compare", *arguments, "suite=smoke", f"output={tmp_path}"]) != 0
    assert message in capsys.readouterr().err


def test_power_agrees_with_published_numbers(capsys):
    assert main(["power", "80%", "0.9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    needed = [
        int(line.split()[-1]) for line in lines if line.rstrip().endswith(tuple("0123456789"))
    ]
    assert needed[0] == 199  # two proportions
    assert all(107 <= number <= 210 for number in needed[1:]) and needed[1:] == sorted(needed[1:])
    assert main(["power", "0.8", "0.9", "--discordant", "0.14"]) == 0
    assert " 107 " in capsys.readouterr().out.replace("\n", " \n")


@pytest.mark.parametrize("rates", [(0.8, 0.9), (0.05, 0.5), (0.99, 1.0), (0.2, 0.1)])
def test_typical_shares_of_discordant_episodes_are_accepted(rates):
    most = min(sum(rates), 2 - sum(rates))
    assert all(
        abs(rates[0] - rates[1]) - 1e-12 <= share <= most + 1e-12
        for share in typical_discordance(*rates)
    )


def test_a_discordant_share_of_zero_is_not_ignored(capsys):
    assert main(["power", "0.8", "0.9", "--discordant", "0"]) == 2
    assert "discordant is from 0.1 to 0.3, got 0" in capsys.readouterr().err


def test_equal_rates_are_refused(capsys):
    assert main(["power", "0.9", "0.9"]) == 2
    assert "must be different rates" in capsys.readouterr().err
