import pytest
import torch

from jepabench.world_models.base import TrajectoryBatch
from jepabench.world_models.checkpoint import load_world_model
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.fit import fit

MODEL = {
    "encoder_options": {"width": 8, "num_keypoints": 8, "hidden": 32},
    "latent_dim": 8,
    "history": 1,
    "rollout_steps": 2,
    "predictor_options": {"width": 32, "depth": 1},
    "decoder_width": 4,
}


def test_a_model_of_pixels_learns_the_position_of_the_ball(two_room, tmp_path):
    data, held_out = two_room
    diagnosis = fit(
        dataset=data.path,
        validation=held_out.path,
        directory=tmp_path / "m",
        seed=0,
        kind="autoencoder",
        model=MODEL,
        training={
            "num_steps": 150,
            "batch_size": 32,
            "learning_rate": 3e-3,
            "diagnose_every": 1000,
        },
        progress=False,
    )
    assert min(diagnosis.probe_r2[:2]) > 0.7 and not diagnosis.collapsed
    model = load_world_model(tmp_path / "m").model
    frames = torch.from_numpy(held_out.field("pixels")[:64].copy())
    change = (frames.float() - model.decoder.mean_frame) / 255
    # The error that the decoder is taught by, in which what changes counts more, against that of
    # painting the mean frame.
    unpainted = ((1 + 20 * change.abs().amax(-1, keepdim=True)) * change.square()).mean()
    assert float(model.decoder.loss(model.encode(frames), frames)) < 0.7 * float(unpainted)


def test_predictions_do_not_move_their_targets():
    torch.manual_seed(0)
    model = build_model(
        "autoencoder", {**MODEL, "rollout_steps": 1, "pixel_weight": 0.0, "action_size": 2}
    )
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (4, 2, 64, 64, 3), generator=generator, dtype=torch.uint8)
    latents = model.encode(frames.flatten(0, 1)).unflatten(0, (4, 2)).detach().requires_grad_()
    batch = TrajectoryBatch({"pixels": frames}, torch.zeros(4, 1, 2), torch.zeros(4, 2, 1))
    sum(model.prediction_terms(latents, batch, generator).values()).backward()
    assert float(latents.grad[:, 0].abs().sum()) > 0 and float(latents.grad[:, 1].abs().sum()) == 0


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"terms": {"infonce": {"weight": 1.0}}}])
def test_targets_other_than_pixels_are_refused(options: dict):
    with pytest.raises(ValueError, match="allows no momentum"):
        build_model("autoencoder", {**MODEL, "action_size": 2, **options})
