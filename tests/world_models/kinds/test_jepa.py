"""Test the targets and the latents of a JEPA."""

import numpy as np
import pytest
import torch

from jepabench.world_models.base import TrajectoryBatch
from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
from jepabench.world_models.networks.encoders import KeypointEncoder, augment_colour


def make(**options) -> JEPA:
    torch.manual_seed(0)
    small = {"width": 8, "num_keypoints": 6, "hidden": 16}
    return JEPA(
        JEPAConfig(encoder_options=small, latent_dim=8, action_size=2, rollout_steps=2, **options)
    )


def batch() -> TrajectoryBatch:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (6, 4, 64, 64, 3), generator=generator, dtype=torch.uint8)
    return TrajectoryBatch(
        {"pixels": frames}, torch.randn(6, 3, 2, generator=generator), torch.zeros(6, 4, 1)
    )


def encoder_gradient(model: JEPA) -> torch.Tensor:
    model.losses(batch(), torch.Generator())["prediction"].backward()
    return torch.cat([p.grad.flatten() for p in model.encoder.parameters()])


def test_a_stopped_gradient_changes_the_encoders_gradient_but_not_the_loss():
    free, stopped = make(), make(stop_gradient=True)
    losses = [model.losses(batch(), torch.Generator())["prediction"] for model in (free, stopped)]
    torch.testing.assert_close(*losses)
    assert not torch.allclose(encoder_gradient(free), encoder_gradient(stopped))


def test_moving_average_starts_as_encoder_and_slows_down():
    model, stopped = make(momentum=0.9), make(stop_gradient=True)
    torch.testing.assert_close(
        encoder_gradient(model), encoder_gradient(stopped)
    )  # still the same weights
    before = model.target_encoder.head[0].weight.clone()
    with torch.no_grad():
        model.encoder.head[0].weight += 1.0
    model.after_step(0.5)  # half way, the cosine schedule moves it by (1 - 0.9) / 2
    torch.testing.assert_close(model.target_encoder.head[0].weight, before + 0.05)
    model.after_step(1.0)
    torch.testing.assert_close(model.target_encoder.head[0].weight, before + 0.05)


def test_a_moving_average_is_saved_but_not_trained():
    model = make(momentum=0.9)
    encoder_gradient(model)
    assert all(p.grad is None for p in model.target_encoder.parameters())
    assert any(name.startswith("target_encoder.") for name in model.state_dict())


def test_on_the_sphere_latents_and_predictions_have_unit_mean_square():
    model = make(sphere=True)
    latents = model.encode(batch().observations["pixels"][:, 0])
    predicted = model.predict(latents[:, None], torch.zeros(6, 1, 2))
    for points in (latents, predicted):
        torch.testing.assert_close(points.square().mean(1), torch.ones(6))


@pytest.mark.parametrize("momentum", [1.0, -0.1])
def test_momentum_out_of_range_is_refused(momentum: float):
    with pytest.raises(ValueError, match="momentum"):
        make(momentum=momentum)


def test_untrained_keypoints_follow_a_moving_spot():
    """Flat maps would put all keypoints at the centre of mass, which shape and angle do not
    move.
    """
    torch.manual_seed(0)
    encoder = KeypointEncoder(num_keypoints=16)
    frames = torch.full((16, 64, 64, 3), 30, dtype=torch.uint8)
    for index in range(16):
        frames[index, 24:32, 4 * index : 4 * index + 4] = 255
    x = encoder.keypoints(frames)[:, :, 0]
    assert x.std(0).max() > 0.3  # of 0.6 if it followed exactly


def test_recolouring_changes_colours_of_each_frame_and_no_shape():
    rng = np.random.default_rng(0)
    shapes = torch.from_numpy(rng.integers(3, size=(2, 3, 8, 8)))
    frames = torch.tensor([[255, 255, 255], [119, 136, 153], [65, 105, 225]], dtype=torch.uint8)[
        shapes
    ]
    seen = augment_colour(frames, strength=0.3, generator=torch.Generator().manual_seed(0))
    assert seen.dtype == torch.uint8 and seen.shape == frames.shape
    palettes = []
    for window, step in np.ndindex(2, 3):
        colours = [seen[window, step][shapes[window, step] == shape] for shape in range(3)]
        assert all((found == found[0]).all() for found in colours)  # one thing, one colour
        palettes.append(torch.stack([found[0] for found in colours]).int())
    assert len({tuple(palette.flatten().tolist()) for palette in palettes}) == 6
    changes = torch.stack([palette[:, None] - palette[None] for palette in palettes])
    assert changes.float().std(0).max() > 10  # things change apart from each other, not all alike
    assert augment_colour(frames, strength=0.0, generator=torch.Generator()) is frames


def test_endpoint_inverse_dynamics_reaches_encoder_and_predictor():
    model = make(
        history=1, terms={"endpoint_inverse": {"weight": 2.0}, "action_recovery": {"weight": 0.1}}
    )
    three = batch()
    windows = TrajectoryBatch(
        {"pixels": three.observations["pixels"][:, :3]}, three.actions[:, :2], three.state[:, :3]
    )
    terms = model.losses(windows, torch.Generator())
    assert set(terms) == {"prediction", "endpoint_inverse", "action_recovery"}
    for name, changed in (
        ("endpoint_inverse", model.encoder),
        ("action_recovery", model.predictor),
    ):
        parameters = list(changed.parameters())
        gradients = torch.autograd.grad(
            terms[name], parameters, retain_graph=True, allow_unused=True
        )
        assert any(g is not None and g.abs().max() > 0 for g in gradients), name
    half = make(history=1, terms={"endpoint_inverse": {"weight": 1.0}})
    torch.testing.assert_close(
        half.losses(windows, torch.Generator())["endpoint_inverse"] * 2, terms["endpoint_inverse"]
    )
