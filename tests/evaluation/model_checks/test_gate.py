"""The planning gate names the part that limits planning."""

import numpy as np
import pandas as pd
import pytest

from jepabench.evaluation.model_checks.diagnosis import PlanOutcomes, plan_outcomes
from jepabench.evaluation.model_checks.gate import (
    action_sensitivity,
    ceiling_row,
    goal_error_table,
    judge,
)
from jepabench.main import main


def outcomes(*, imagined: float, realised: float) -> PlanOutcomes:
    """Return outcomes whose energies have about these rank correlations with the distance."""
    rng = np.random.default_rng(0)
    distance = rng.normal(size=(20, 64))
    noise = rng.normal(size=(2, 20, 64))
    energies = [
        share * distance + np.sqrt(1 - share**2) * part
        for share, part in zip((imagined, realised), noise, strict=True)
    ]
    return PlanOutcomes(energies[0], distance, None, energies[1])


def errors(**in_place: float) -> pd.DataFrame:
    """Return a goal-error table with these shares."""
    return pd.DataFrame(
        {
            "source": [name.replace("_", " ") for name in in_place],
            "median": 0.01,
            "p90": 0.02,
            "in_place": list(in_place.values()),
        }
    )


GOOD = {"encoded": 0.95, "imagined_1": 0.95, "imagined_5": 0.9}


@pytest.mark.parametrize(
    ("table", "sensitivity", "ranks", "limit"),
    [
        ({"supervised_CNN": 0.4, "encoded": 0.3, "imagined_5": 0.3}, 1.0, (0.9, 0.9), "frames"),
        ({"supervised_CNN": 0.9, "encoded": 0.3, "imagined_5": 0.3}, 1.0, (0.9, 0.9), "encoder"),
        (GOOD, 0.01, (0.9, 0.9), "dynamics"),
        (GOOD, 1.0, (0.3, 0.9), "dynamics"),
        ({**GOOD, "imagined_5": 0.4}, 1.0, (0.9, 0.9), "dynamics"),
        (GOOD, 1.0, (0.2, 0.2), "cost"),
        (GOOD, 1.0, (0.9, 0.9), "search"),
    ],
)
def test_names_the_part_that_fails(table, sensitivity, ranks, limit):
    report = judge(errors(**table), sensitivity, outcomes(imagined=ranks[0], realised=ranks[1]))
    assert report.limit == limit
    assert report.table().loc[0, "limit"] == limit
    assert report.table().loc[0, "encoded_in_place"] == table["encoded"]


def test_needs_realised_energies():
    with pytest.raises(ValueError, match="realised=True"):
        judge(errors(**GOOD), 1.0, PlanOutcomes(np.ones((2, 3)), np.ones((2, 3)), None))


def test_gate_passes_for_the_true_state(state_twin, episodes):
    table = goal_error_table(state_twin, episodes[1], steps=(1, 3)).set_index("source")
    assert table.loc["encoded", "in_place"] > 0.95
    assert table.loc["encoded", "median"] <= table.loc["imagined 3", "median"]
    assert action_sensitivity(state_twin, episodes[1]) > 0.5


def test_untrained_encoder_reads_few_goals(pixel_model, episodes):
    table = goal_error_table(pixel_model, episodes[1], steps=(1,)).set_index("source")
    assert table.loc["encoded", "in_place"] < 0.8


def test_realised_energies_rank_like_the_distance(state_twin):
    made = plan_outcomes(state_twin, num_starts=3, num_plans=16, horizon=3, realised=True)
    assert made.realised is not None and made.realised.shape == made.distance.shape
    # A good model imagines nearly what happens.
    assert np.corrcoef(made.realised.ravel(), made.predicted.ravel())[0, 1] > 0.95


def test_supervised_ceiling_reads_goal_from_frames(episodes):
    row = ceiling_row("jepabench/TwoRoom-v1", *episodes, num_steps=20).iloc[0]
    assert row["source"] == "supervised CNN"
    assert 0 <= row["in_place"] <= 1 and row["median"] < 1.0


def test_diagnose_command_states_the_limit(pixel_model, episodes, tmp_path, capsys):
    arguments = ["--steps", "5", "--starts", "2", "--plans", "12", "--output", str(tmp_path)]
    ceiling = ["--train", str(episodes[0].path), "--ceiling-steps", "5"]
    folder = pixel_model.metadata["folder"]
    assert main(["diagnose", folder, str(episodes[1].path), *arguments, *ceiling]) == 0
    assert "Limit: " in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "gate.csv")
    assert table.loc[0, "limit"] in ("frames", "encoder")
    assert {"supervised_CNN_in_place", "rank_realised"} <= set(table.columns)
