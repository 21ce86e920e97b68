import numpy as np
import pandas as pd
import pytest

from jepabench.evaluation.records import SCHEMA
from jepabench.evaluation.statistics.success_tables import score_table
from jepabench.results.report.aggregates import ALL, THRESHOLDS, aggregate, profiles_figure
from jepabench.results.report.formats import aggregate_rows, latex_report, markdown_report
from jepabench.results.report.panels import agent_colours
from jepabench.results.report.success_table import read_cells

RATES = {
    "expert": 1.0,
    "oracle-cem": 0.9,
    "good": 0.7,
    "b_ad & 100% #1 {x} | y": 0.3,
    "random": 0.1,
}


def records(agents=RATES, seeds=3, episodes=40):
    rng, rows = np.random.default_rng(0), []
    for agent in agents:
        for seed in range(seeds if agent in ("good", "b_ad & 100% #1 {x} | y") else 1):
            for task in ("jepabench/A-v1", "jepabench/B-v1"):
                for stratum in ("near", "far"):
                    held = rng.random(episodes) < RATES[agent]
                    rows += [
                        {
                            **{field.name: 0 for field in SCHEMA},
                            "agent": agent,
                            "training_seed": seed,
                            "task_id": task,
                            "split": "test",
                            "stratum": stratum,
                            "index": index,
                            "success_held": bool(flag),
                            "steps": 50,
                        }
                        for index, flag in enumerate(held)
                    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def across():
    found = aggregate(records(), generator=np.random.default_rng(0), num_resamples=300)
    assert found is not None
    return found


def test_aggregates_are_normalised_for_all_strata_and_each(across):
    assert across.scale == "normalised"
    assert list(dict.fromkeys(across.table["stratum"])) == [ALL, "near", "far"]
    rows = across.table.set_index(["stratum", "agent"])
    for stratum in (ALL, "near", "far"):
        good = rows.loc[(stratum, "good")]
        assert good["iqm_low"] < good["iqm"] < good["iqm_high"]
        assert good["iqm"] == pytest.approx((0.7 - 0.1) / (0.9 - 0.1), abs=0.12)
    assert rows.loc[(ALL, "good"), "cells"] == 4 and rows.loc[("far", "good"), "cells"] == 2
    assert aggregate_rows(across, ALL)[0][0] == "good"


def test_profiles_decrease_and_the_better_agent_is_above(across):
    profiles = across.profiles[across.profiles["stratum"] == ALL].pivot(
        index="threshold", columns="agent", values="share"
    )
    assert len(profiles) == len(THRESHOLDS) and (np.diff(profiles.to_numpy(), axis=0) <= 0).all()
    assert (profiles["good"] >= profiles["b_ad & 100% #1 {x} | y"]).all()
    svg = profiles_figure(across, colours=agent_colours(RATES))
    assert svg.startswith(b"<?xml") and b"far" in svg


def test_agents_with_same_colour_have_different_dashes(across):
    grey = dict.fromkeys(RATES, "#808080")
    assert b"stroke-dasharray: 5.55" in profiles_figure(across, colours=grey)
    assert b"stroke-dasharray: 5.55" not in profiles_figure(across, colours=agent_colours(RATES))


def test_strata_are_sorted_from_near_to_far():
    found = aggregate(records()[::-1], generator=np.random.default_rng(0), num_resamples=100)
    assert found is not None
    assert list(dict.fromkeys(found.table["stratum"])) == [ALL, "near", "far"]


def test_without_references_scores_are_raw_and_labelled():
    found = aggregate(records(["good"]), generator=np.random.default_rng(0), num_resamples=100)
    assert found is not None and found.scale == "raw"


def test_agents_that_lack_a_task_are_left_out():
    rows = records()
    part = rows[(rows["agent"] != "good") | (rows["task_id"] == "jepabench/A-v1")]
    found = aggregate(part, generator=np.random.default_rng(0), num_resamples=100)
    assert found is not None and "good" not in set(found.table["agent"])
    assert aggregate(rows[rows["agent"] == "random"], generator=np.random.default_rng(0)) is None


def cells():
    table = score_table(records())
    return read_cells(table.assign(transitions=100.0, train_seconds=np.nan), agents=["late"])


def test_markdown_has_a_table_for_each_stratum_and_marks_missing_cells(across):
    text = markdown_report("quick, version 1", cells(), across)
    assert text.count("\n## ") == 3 + 4
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(line.replace("\\|", "").strip("|").split("|")) for line in lines} == {5, 7}
    assert "| late | missing |" in text and "b\\_ad" in text and "\\| y" in text


def test_latex_is_balanced_and_escaped(across):
    text = latex_report("quick, version 1", cells(), across)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 7
    assert r"b\_ad \& 100\% \#1 \{x\}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {4, 6}
