import numpy as np
import pytest
import torch

from jepabench.world_models.analysis.diagnostics import encode_frames
from jepabench.world_models.analysis.imagination import draw_windows, imagine
from jepabench.world_models.analysis.probes import KINDS, fit_linear, fit_probe, score

GENERATOR = torch.Generator().manual_seed(0)
LATENTS = torch.randn(1200, 5, generator=GENERATOR)
TRAIN, TEST = slice(0, 800), slice(800, None)


def test_a_linear_probe_reads_linear_values_and_a_network_all_values():
    truth = torch.stack([4 * LATENTS[:, 0] - LATENTS[:, 2] + 7, (2 * LATENTS[:, 1]).sin()], dim=1)
    r2 = {
        kind: score(fit_probe(kind, LATENTS[TRAIN], truth[TRAIN])(LATENTS[TEST]), truth[TEST]).r2
        for kind in KINDS
    }
    assert r2["linear"][0] > 0.999 and r2["mlp"][0] > 0.97
    assert r2["linear"][1] < 0.5 and r2["mlp"][1] > 0.9


def test_fit_linear_agrees_with_least_squares_for_wide_and_tall_latents():
    truth = LATENTS[:30] @ torch.randn(5, 2, generator=torch.Generator().manual_seed(1)) + 1
    wide = torch.cat(
        [LATENTS[:30], torch.randn(30, 60, generator=torch.Generator().manual_seed(2))], dim=1
    )
    for latents in (LATENTS[:30], wide):
        probe = fit_linear(latents, truth, regularisation=0.1)
        features = ((latents - latents.mean(0)) / latents.std(0)).double().numpy()
        features = np.concatenate([features, np.ones((30, 1))], axis=1)
        rows = np.concatenate([features, np.sqrt(3.0) * np.eye(features.shape[1])])
        targets = np.concatenate([truth.double().numpy(), np.zeros((features.shape[1], 2))])
        expected = features @ np.linalg.lstsq(rows, targets, rcond=None)[0]
        np.testing.assert_allclose(probe(latents).numpy(), expected, atol=1e-4)


def test_patch_latents_are_probed_as_one_vector():
    patches = LATENTS[:, None] * torch.ones(1, 3, 1)
    probe = fit_probe("linear", patches[TRAIN], LATENTS[TRAIN, :1])
    assert score(probe(patches[TEST].flatten(1)), LATENTS[TEST, :1]).r[0] > 0.999


def test_a_constant_has_no_score_and_an_unknown_probe_gets_a_suggestion():
    scores = score(torch.randn(50, 1, generator=GENERATOR), torch.ones(50, 1))
    assert np.isnan(scores.r2[0]) and np.isnan(scores.r[0])
    with pytest.raises(KeyError, match="Did you mean 'linear'"):
        fit_probe("liner", LATENTS, LATENTS)


class Drift(torch.nn.Module):
    """Encodes the true state; predicts that it moves by the action."""

    observation_key, history, action_size, window = "observation", 2, 2, 4

    def encode(self, observation):
        return observation[:, :2]

    def predict(self, latents, actions):
        return latents[:, -1] + actions[:, -1]

    def losses(self, batch, generator):
        raise NotImplementedError


def test_windows_are_frames_of_one_episode_and_imagination_follows_their_actions(two_room):
    from jepabench.world_models.checkpoint import LoadedWorldModel
    from jepabench.world_models.training.batches import ActionScale

    dataset, scale = two_room[1], ActionScale.from_dataset(two_room[1])
    drift = LoadedWorldModel(Drift(), scale, None, "", {})
    rng = np.random.default_rng(0)
    windows = draw_windows(
        drift,
        dataset,
        num_steps=3,
        num_windows=20,
        episodes=np.arange(4, 8),
        rng=rng,
    )
    assert set(windows.episodes) <= set(range(4, 8)) and len(windows.starts) == 20
    for step in range(4):
        seen = encode_frames(Drift(), dataset, windows.rows(step))
        expected = windows.present if step == 0 else windows.future[:, step - 1]
        torch.testing.assert_close(seen, expected)
    walked = windows.present[:, None] + windows.plans.cumsum(1)
    torch.testing.assert_close(imagine(Drift(), windows), walked)
    stopped = imagine(Drift(), windows, torch.zeros_like(windows.plans))
    torch.testing.assert_close(stopped, windows.present[:, None].expand(-1, 3, -1))
    with pytest.raises(ValueError, match="longest has 8"):
        draw_windows(drift, dataset, num_steps=30, rng=rng)
