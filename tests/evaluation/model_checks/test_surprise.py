import numpy as np
import pytest

from jepabench.evaluation.model_checks.surprise import (
    Clip,
    auroc,
    prediction_errors,
    record_clips,
    surprise_table,
)
from jepabench.main import main
from jepabench.world_models.checkpoint import build_untrained

TWO_ROOM = "jepabench/TwoRoom-v1"


@pytest.fixture(scope="module")
def clips():
    return record_clips(TWO_ROOM, observation_key="observation", known=1, num_episodes=24)


def test_auroc_is_the_share_of_pairs_won():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, 30).astype(float), rng.integers(0, 6, 40).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in first for b in second]
    assert auroc(first, second) == pytest.approx(np.mean(pairs))
    assert auroc(first + 10, second) == 1.0


def test_an_event_changes_only_later_steps(clips):
    assert len(clips.undisturbed) == 24
    for name in ("teleport", "pass_wall", "freeze", "reverse"):
        assert clips.disturbed[name]
        for number, clip in clips.disturbed[name]:
            plain = clips.undisturbed[number]
            assert np.array_equal(clip.observations[:1], plain.observations[:1])
            assert np.array_equal(clip.actions, plain.actions)
            assert not np.array_equal(clip.observations[1], plain.observations[1])
    assert (
        not clips.disturbed["recolour"] and clips.impossible_here["recolour"] == 24
    )  # the state has no colour


def test_a_model_of_the_state_notices_a_teleport(state_twin, clips):
    table = surprise_table(state_twin, clips).set_index("event")
    assert table.loc["teleport", "auroc"] > 0.95 and table.loc["teleport", "kind"] == "impossible"
    low, value, high = (float(table.loc["teleport", name]) for name in ("low", "auroc", "high"))
    assert low <= value <= high and low < high  # also if every pair is told apart
    assert np.isnan(table.loc["recolour", "auroc"]) and table.loc["recolour", "pairs"] == 0


def test_the_error_is_that_of_one_step(state_twin, clips):
    import torch

    errors = prediction_errors(state_twin, clips.undisturbed[:3])
    clip = clips.undisturbed[2]
    seen = state_twin.model.encode(torch.from_numpy(clip.observations).float())
    action = state_twin.scale.normalise(torch.from_numpy(clip.actions))
    expected = state_twin.model.predict(seen[None, 1:2], action[None, 1:2])[0] - seen[2]
    torch.testing.assert_close(errors[2, 1], expected)


def test_surprise_from_pixels_beside_untrained_networks(pixel_model, tmp_path, capsys):
    folder = pixel_model.metadata["folder"]
    again = build_untrained(folder_of(folder), seed=1)
    assert again.task_id == TWO_ROOM and again.decoder is None
    arguments = [
        "--episodes",
        "6",
        "--events",
        "teleport",
        "recolour",
        "--untrained",
        "1",
        "--output",
        str(tmp_path),
    ]
    assert main(["surprise", folder, *arguments]) == 0
    lines = (tmp_path / "surprise.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3 and lines[2].startswith("recolour,harmless,")
    assert main(["surprise", folder, "--events", "teleprot"]) == 2
    assert "Did you mean 'teleport'" in capsys.readouterr().err


def folder_of(folder):
    from pathlib import Path

    return Path(folder)


def test_clips_have_expected_shapes(clips):
    clip: Clip = clips.undisturbed[0]
    assert clip.observations.shape == (3, 4) and clip.actions.shape == (2, 2)
