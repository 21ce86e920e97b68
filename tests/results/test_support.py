"""Tests of the table of the combinations that data contain."""

import numpy as np
import pandas as pd
import pytest

from jepabench.envs.core.withheld import STRATA, Withheld
from jepabench.envs.data.collect import collect
from jepabench.results import find_checkout, support

TASK = "jepabench/TwoRoom-Recombination-v1"


def test_pairs_are_counted_on_the_side_of_the_boundary_and_of_zero_that_they_are_on():
    positions = np.array([[9.0, -1e-9], [9.0, 1e-9], [9.0, 5.0], [9.0, 1.0]])
    actions = np.array([[9.0, -1.0], [9.0, 0.0], [9.0, 1.0], [9.0, -1e-9]])
    rows = support.count_pairs((positions, actions), Withheld(axis=1, boundary=0.0), 1.0)
    table = pd.DataFrame(rows).round(6).set_index(["position", "action"])["share"]
    found = table[table > 0.0]
    assert found.to_dict() == {
        (-0.1, -0.9): 0.25,
        (0.1, 0.1): 0.25,
        (0.9, -0.1): 0.25,
        (0.9, 0.9): 0.25,
    }


def test_the_command_keeps_other_tasks_and_shows_that_only_withheld_episodes_leave_the_data(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(support, "_EPISODES", 3)
    other = {"task": "other", "pairs": "data", "position": 0.5, "action": 0.1, "share": 1.0}
    pd.DataFrame([other]).to_csv(tmp_path / support.SUPPORT, index=False)
    options = {"num_episodes": 60, "num_steps": 5, "pixels": None, "num_workers": 1}
    collect(TASK, tmp_path / "data", progress=False, **options)
    for _ in range(2):
        assert support.main([str(tmp_path / "data"), "--tables", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / support.SUPPORT)
    assert (table["task"] == "other").sum() == 1
    ours = table[table["task"] == TASK]
    assert len(ours) == 4 * 100
    beyond_and_back = ours[(ours["position"] > 0.0) & (ours["action"] < 0.0)]
    shares = beyond_and_back.groupby("pairs")["share"].sum()
    assert shares["withheld"] == pytest.approx(1.0, abs=1e-3)
    assert (shares.drop("withheld") == 0.0).all() and set(shares.index) == {"data", *STRATA}


def test_the_committed_data_have_no_withheld_combination():
    table = pd.read_csv(find_checkout() / "results" / "tables" / support.SUPPORT)
    data = table[table["pairs"] == "data"]
    withheld = (data["position"] > 0.0) & (data["action"] < 0.0)
    assert withheld.sum() == 25 * data["task"].nunique()
    assert (data.loc[withheld, "share"] == 0.0).all()
    assert (data.loc[~withheld, "share"] > 0.0).all(), "each part alone is covered"
