import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from jepabench.evaluation.model_checks.diagnosis import (
    PlanOutcomes,
    foresight_table,
    geometry,
    plan_outcomes,
    plan_table,
)
from jepabench.main import main


def test_a_trained_model_beats_copying_and_depends_on_its_actions(state_twin, episodes):
    table = foresight_table(state_twin, episodes[1], num_steps=3)
    assert (table["true"] < 0.3).all()
    assert (table["random"] > 3 * table["true"]).all() and (table["zero"] > 3 * table["true"]).all()
    assert table["copy_last"].is_monotonic_increasing


def test_an_untrained_model_does_not_beat_copying(pixel_model, episodes):
    table = foresight_table(pixel_model, episodes[1], num_steps=3)
    assert (table["true"] > 0.9).all()


def test_the_shape_of_the_true_state_is_known(state_twin, episodes):
    shape = geometry(state_twin, episodes[1])
    assert shape["latent_size"] == 4
    assert 1.8 < shape["effective_rank"] < 2.3  # the ball's place; wall and door never move
    assert shape["std_min"] < 1e-3 and shape["std_mean"] > 0.3


def test_predicted_cost_ranks_plans_of_an_exact_model_correctly(state_twin):
    outcomes = plan_outcomes(state_twin, num_starts=6, num_plans=24, horizon=3)
    assert (
        outcomes.predicted.shape == outcomes.distance.shape == (6, 24) and outcomes.path is not None
    )
    table = plan_table(outcomes, rng=np.random.default_rng(0)).set_index(["outcome", "measure"])
    assert table.loc[("distance", "rank correlation"), "value"] > 0.6
    assert table.loc[("distance", "regret of the cheapest"), "value"] < 0.4


def test_rank_correlation_agrees_with_scipy_and_regret_with_its_definition():
    rng = np.random.default_rng(1)
    predicted, real = rng.normal(size=(3, 40)), rng.normal(size=(3, 40))
    table = plan_table(PlanOutcomes(predicted, real, None), rng=rng).set_index("measure")
    expected = np.mean([spearmanr(a, b)[0] for a, b in zip(predicted, real, strict=True)])
    assert table.loc["rank correlation", "value"] == pytest.approx(expected)
    perfect = plan_table(PlanOutcomes(real, real, real), rng=rng)
    assert set(perfect["outcome"]) == {"distance", "path"}
    assert (perfect[perfect["measure"] == "regret of the cheapest"]["value"] == 0).all()


def test_the_command_writes_tables_and_a_figure(pixel_model, episodes, tmp_path, capsys):
    folder, data = pixel_model.metadata["folder"], str(episodes[1].path)
    arguments = ["--steps", "2", "--starts", "2", "--plans", "12", "--output", str(tmp_path)]
    assert main(["diagnose", folder, data, *arguments]) == 0
    assert "Do plans of low cost succeed?" in capsys.readouterr().out
    assert (tmp_path / "diagnosis.png").read_bytes()[:4] == b"\x89PNG"
    assert list(pd.read_csv(tmp_path / "foresight.csv").columns) == [
        "step",
        "true",
        "zero",
        "random",
        "copy_last",
    ]
    assert main(["diagnose", folder, data, "--steps", "99"]) == 2
    assert "longest has 12" in capsys.readouterr().err


def test_imagine_uses_its_own_decoder(pixel_model, episodes, tmp_path):
    from PIL import Image

    arguments = [
        "--steps",
        "3",
        "--episodes",
        "2",
        "--decoder-steps",
        "5",
        "--output",
        str(tmp_path),
    ]
    assert main(["imagine", pixel_model.metadata["folder"], str(episodes[1].path), *arguments]) == 0
    with Image.open(tmp_path / "imagined.gif") as film:
        assert film.n_frames == 4
    with Image.open(tmp_path / "imagined.png") as strip:
        assert strip.width > strip.height > 200
