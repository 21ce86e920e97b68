"""Test world models on frozen features, from the pretext task to the loaded checkpoint."""

import json

import numpy as np
import pytest
import torch

from jepabench.world_models.analysis.diagnostics import diagnose, encode_frames
from jepabench.world_models.checkpoint import load_world_model
from jepabench.world_models.networks.backbones import BackboneError
from jepabench.world_models.networks.heads import ridge_probe_r2
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale
from jepabench.world_models.training.fit import fit

SMALL = {
    "predictor_options": {"width": 16, "depth": 1},
    "history": 1,
    "rollout_steps": 2,
    "latent_dim": 8,
}
OWN = {
    "backbone": "own",
    "backbone_options": {"width": 16, "depth": 1, "num_heads": 2},
    "pretext": "i-jepa",
    "pretext_options": {"predictor_width": 16, "predictor_depth": 1},
    "pretext_training": {
        "num_steps": 4,
        "batch_size": 8,
        "diagnose_every": 100,
        "on_collapse": "warn",
    },
}
TRAINING = {
    "num_steps": 40,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "diagnose_every": 1000,
    "on_collapse": "warn",
}


def fit_small(two_room, directory, model: dict, kind: str = "dino-wm", **training):
    data, held_out = two_room
    return fit(
        dataset=data.path,
        validation=held_out.path,
        directory=directory,
        seed=0,
        kind=kind,
        model={**SMALL, **model},
        training={**TRAINING, **training},
        progress=False,
    )


def test_a_pretrained_backbone_learns_dynamics_and_stays_out_of_the_checkpoint(two_room, tmp_path):
    diagnosis = fit_small(
        two_room, tmp_path / "m", {"backbone": "efficientnet-lite0"}, num_steps=150
    )
    assert diagnosis.error_ratio[0] < 1  # better than saying that nothing changes
    loaded = load_world_model(tmp_path / "m")
    seen = [
        (
            encode_frames(loaded.model, data, np.arange(len(data.field("pixels")))).flatten(1),
            torch.from_numpy(np.array(data.field("observation"), np.float32)[:, :2]),
        )
        for data in two_room
    ]
    # A thousand numbers and 360 frames: the probe needs a strong prior.
    assert ridge_probe_r2(*seen, regularisation=1.0).min() > 0.7
    again = diagnose(loaded.model, two_room[1], scale=loaded.scale)
    assert again.error_ratio == pytest.approx(diagnosis.error_ratio, rel=1e-3)
    assert (tmp_path / "m" / "weights.safetensors").stat().st_size < 200_000
    assert not any(p.requires_grad for p in loaded.model.parameters())


def test_a_checkpoint_notices_other_weights_of_its_backbone(two_room, tmp_path):
    fit_small(two_room, tmp_path / "m", {"backbone": "efficientnet-lite0"}, num_steps=1)
    content = json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))
    assert content["config"]["weights_sha256"].startswith("57934424")
    content["config"]["weights_sha256"] = "0" * 64
    (tmp_path / "m" / "model.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BackboneError, match="differ from those in training"):
        load_world_model(tmp_path / "m")


def test_own_encoder_is_trained_first_and_saved(two_room, tmp_path):
    fit_small(two_room, tmp_path / "m", OWN, num_steps=2, decoder_steps=2)
    loaded = load_world_model(tmp_path / "m")
    torch.manual_seed(0)
    untaught = build_model("dino-wm", {**SMALL, **OWN, "action_size": 2}).encoder.state_dict()
    taught = loaded.model.encoder.state_dict()
    assert any(not torch.equal(untaught[name], taught[name]) for name in taught)
    assert (tmp_path / "m" / "pretext" / "training.pt").exists()
    assert loaded.decoder is not None
    frames = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    assert loaded.decoder.paint(loaded.model.encode(frames)).shape == frames.shape


def test_a_second_run_keeps_the_encoder(two_room, tmp_path):
    fit_small(two_room, tmp_path / "m", OWN, num_steps=2)
    (tmp_path / "m" / "training.pt").unlink()  # the second run finds the pretext task done
    fit_small(two_room, tmp_path / "m", OWN, num_steps=3)
    fit_small(two_room, tmp_path / "fresh", OWN, num_steps=3)
    parts, whole = (load_world_model(tmp_path / name).model.state_dict() for name in ("m", "fresh"))
    for name in whole:
        if name.startswith(("encoder", "components", "feature_mean")):
            torch.testing.assert_close(parts[name], whole[name])


def test_latents_keep_feature_distances_up_to_a_factor(two_room, tmp_path):
    data, _ = two_room
    model = build_model("dino-wm", {**SMALL, "latent_dim": 40, "action_size": 10})
    wider = model.prepare(data, directory=tmp_path, train=None, progress=False)
    frames = torch.from_numpy(data.field("pixels")[:6].copy())
    features, latents = model._features(frames), model.encode(frames)
    torch.testing.assert_close(
        torch.cdist(latents.flatten(1), latents.flatten(1)) * model.unit,
        torch.cdist(features.flatten(1), features.flatten(1)),
        rtol=1e-3,
        atol=1e-2,
    )
    torch.testing.assert_close(
        torch.from_numpy(wider.field("latents")[:6]).float(), latents, rtol=2e-3, atol=2e-3
    )
    assert float(latents.square().mean()) < 10


def test_actions_reach_the_loss_through_cached_latents_as_through_frames(two_room, tmp_path):
    from jepabench.world_models.training.batches import WindowSampler

    data, _ = two_room
    torch.manual_seed(0)
    model = build_model("dino-wm", {**SMALL, "action_size": 2})
    wider = model.prepare(data, directory=tmp_path, train=None, progress=False)
    losses = []
    for source, key in ((wider, "latents"), (data, "pixels")):
        sampler = WindowSampler(
            source, observation_key=key, num_frames=3, scale=ActionScale.from_dataset(data)
        )
        losses.append(
            model.losses(sampler.batch(torch.arange(4).numpy()), torch.Generator())["prediction"]
        )
    torch.testing.assert_close(*losses, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "own"}, "needs a pretext task"),
        ({"pretext": "mae"}, "others none"),
        ({"latent_dim": 41}, "at most 40"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        build_model("dino-wm", {**SMALL, "action_size": 10, **options})
