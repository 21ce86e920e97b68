"""Tests of the prediction error by combination of position and action."""

import numpy as np
import pytest

from jepabench.envs.data.collect import collect
from jepabench.evaluation.model_checks import recombination
from jepabench.evaluation.model_checks.recombination import COMBINATIONS, recombination_table
from jepabench.world_models.checkpoint import load_world_model, save_world_model
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale

TASK = "jepabench/TwoRoom-Recombination-v1"


@pytest.fixture(scope="module")
def model_and_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recombination")
    options = {"num_episodes": 40, "num_steps": 6, "pixels": 32, "num_workers": 1}
    data = collect(TASK, folder / "data", behaviour="random", progress=False, **options)
    model = build_model("jepa", {"latent_dim": 8, "action_size": 2, "history": 2})
    scale = ActionScale.from_dataset(data)
    save_world_model(
        folder / "model", kind="jepa", model=model, scale=scale, task_id=TASK, metadata={}
    )
    return load_world_model(folder / "model"), data


@pytest.mark.parametrize("copies", [False, True])
def test_exact_model_has_error_zero_and_copying_error_one(model_and_data, monkeypatch, copies):
    def imagine(model, windows):
        del model
        known = windows.known
        return windows.latents[:, [known - 1] * 2] if copies else windows.latents[:, known:]

    monkeypatch.setattr(recombination, "imagine", imagine)
    table = recombination_table(*model_and_data, num_steps=2)
    assert set(table["pairs"]) == set(COMBINATIONS)
    assert table["error"].to_numpy() == pytest.approx(float(copies), abs=1e-6)
    assert table["imagined"].to_numpy() == pytest.approx(float(not copies), abs=1e-6)
    assert (table["copy_last"] > 0.0).all()


def test_window_counts_positions_and_actions_of_all_its_steps(model_and_data):
    loaded, data = model_and_data
    table = recombination_table(loaded, data, num_steps=2).set_index(["pairs", "step"])["windows"]
    counts = np.zeros((4, 2), int)
    for episode in data:
        x = episode.observations["achieved_goal"][:, 0]
        for present in range(1, 5):
            moves = np.diff(x[present : present + 3])
            kinds = 2 * (moves < 0.0) + (x[present : present + 2] > 0.0)
            counts[kinds[0], 0] += abs(moves[0]) >= 0.02
            counts[kinds[0], 1] += (np.abs(moves) >= 0.02).all() and kinds[0] == kinds[1]
    assert [[table[name, step] for step in (1, 2)] for name in COMBINATIONS] == counts.tolist()
