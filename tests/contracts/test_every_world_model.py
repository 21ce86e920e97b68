"""Test the WorldModel contract for every combination of encoder and predictor."""

import pytest
import torch

from jepabench.world_models.base import Context, TrajectoryBatch, WorldModel, rollout
from jepabench.world_models.kinds.jepa import TERMS
from jepabench.world_models.networks.encoders import ENCODERS
from jepabench.world_models.networks.heads import Decoder
from jepabench.world_models.networks.predictors import PATCH_PREDICTORS, PREDICTORS
from jepabench.world_models.registry import build_model

SMALL = {
    "conv": {"width": 8},
    "keypoint": {"width": 8, "num_keypoints": 6},
    "vit": {"width": 24, "depth": 1},
    "state": {"mean": [0.0] * 4, "std": [1.0] * 4},
    "spatial": {"width": 8, "num_layers": 1},
    "slots": {"width": 8, "num_slots": 4},
    "lewm": {"depth": 1, "num_heads": 2, "mlp_width": 24, "patch_size": 16, "image_size": 64},
}
POSITIONS = {"slots": 4, "spatial": 64}
PAIRS = [
    (e, p)
    for e in sorted(ENCODERS)
    for p in sorted(PATCH_PREDICTORS if e in POSITIONS else PREDICTORS)
]


def latent_shape(encoder: str) -> tuple[int, ...]:
    return (
        (POSITIONS[encoder], 12) if encoder in POSITIONS else (4,) if encoder == "state" else (12,)
    )


def make(encoder: str, predictor: str, **options) -> WorldModel:
    config = {
        "encoder": encoder,
        "encoder_options": SMALL[encoder],
        "predictor": predictor,
        "latent_dim": 12,
        "action_size": 2,
        "history": 2,
        "rollout_steps": 2,
        "terms": {"sigreg": {"weight": 0.05}},
        **options,
    }
    if encoder == "state":
        config |= {"observation_key": "observation", "latent_dim": 4, "terms": {}}
    torch.manual_seed(0)
    model = build_model("jepa", config)
    assert isinstance(model, WorldModel)
    return model


def batch(model: WorldModel, size: int = 6) -> TrajectoryBatch:
    generator = torch.Generator().manual_seed(0)
    if model.observation_key == "pixels":
        frames = torch.randint(0, 256, (size, 4, 64, 64, 3), generator=generator, dtype=torch.uint8)
    else:
        frames = torch.randn(size, 4, 4, generator=generator)
    actions = torch.randn(size, 3, 2, generator=generator)
    return TrajectoryBatch(
        {model.observation_key: frames}, actions, torch.randn(size, 4, 4, generator=generator)
    )


@pytest.mark.parametrize(("encoder", "predictor"), PAIRS)
def test_shapes_and_gradients(encoder: str, predictor: str):
    model = make(encoder, predictor)
    data = batch(model)
    frames = data.observations[model.observation_key]
    latents = model.encode(frames.flatten(0, 1))
    assert latents.shape == (24, *latent_shape(encoder))
    assert latents.dtype == torch.float32
    short = model.predict(latents[:5, None], torch.zeros(5, 1, 2))
    assert short.shape == latents[:5].shape
    terms = model.losses(data, torch.Generator().manual_seed(0))
    assert all(torch.isfinite(term) and term.ndim == 0 for term in terms.values())
    sum(terms.values()).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert not missing
    if encoder != "state":
        assert sum(float(p.grad.abs().sum()) for p in model.encoder.parameters()) > 0


@pytest.mark.parametrize(("encoder", "predictor"), PAIRS)
def test_imagination_depends_on_the_actions_and_not_on_the_other_candidates(
    encoder: str, predictor: str
):
    model = make(encoder, predictor)
    model.eval()
    for (
        parameter
    ) in model.predictor.parameters():  # AdaLN-zero ignores its condition until it is trained
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    frames = batch(model).observations[model.observation_key]
    latents = model.encode(frames[:, :2].flatten(0, 1)).unflatten(0, (6, 2)).detach()
    context = Context(latents, torch.zeros(6, 1, 2))
    actions = torch.randn(
        6, 3, 4, 2, generator=torch.Generator().manual_seed(2), requires_grad=True
    )
    imagined = rollout(model, context, actions)
    assert imagined.shape == (6, 3, 4, *latent_shape(encoder))
    gradient = torch.autograd.grad(imagined[2, 1].sum(), actions)[0]
    assert float(gradient[2, 1].abs().sum()) > 0
    gradient[2, 1] = 0
    assert float(gradient.abs().sum()) == 0
    alone = rollout(model, Context(latents[2:3], torch.zeros(1, 1, 2)), actions[2:3, 1:2])
    # The transformer of LeWM rounds differently in another batch size.
    rounding = 10 if predictor == "lewm" else 1
    torch.testing.assert_close(
        alone[0, 0], imagined[2, 1], atol=rounding * 1e-5, rtol=rounding * 1e-4
    )


@pytest.mark.parametrize("encoder", sorted(POSITIONS))
def test_a_decoder_paints_latents_with_positions(encoder: str):
    model = make(encoder, "patch")
    latents = model.encode(batch(model).observations["pixels"][:, 0])
    decoder = Decoder(latent_dim=latents[0].numel(), mean_frame=torch.zeros(64, 64, 3))
    assert decoder.paint(latents.detach()).shape == (6, 64, 64, 3)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("encoder", sorted(POSITIONS))
def test_every_term_sees_positions_as_one_long_latent(encoder: str, term: str):
    model = make(encoder, "patch", terms={term: {"weight": 0.5}})
    value = model.losses(batch(model), torch.Generator().manual_seed(0))[term]
    assert torch.isfinite(value) and value.ndim == 0


@pytest.mark.parametrize("term", TERMS)
def test_every_term_can_be_trained_with(term: str):
    model = make("keypoint", "mlp", terms={term: {"weight": 0.5}})
    terms = model.losses(batch(model), torch.Generator().manual_seed(0))
    assert set(terms) == {"prediction", term}
    heavier = make("keypoint", "mlp", terms={term: {"weight": 1.0}})
    doubled = heavier.losses(batch(heavier), torch.Generator().manual_seed(0))
    torch.testing.assert_close(doubled[term], 2 * terms[term])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "keypoints"}, "Did you mean 'keypoint'"),
        ({"predictor": "mpl"}, "Did you mean 'mlp'"),
        ({"encoder": "spatial", "predictor": "mlp"}, "64 positions"),
        ({"encoder": "slots", "encoder_options": {"num_slots": 5}, "predictor": "grid"}, "square"),
        ({"encoder_options": {"head_norm": "bach"}}, "Did you mean 'batch'"),
        ({"terms": {"sigrag": {"weight": 1.0}}}, "Did you mean 'sigreg'"),
        ({"terms": {"sigreg": {}}}, "no weight"),
        ({"latent_dims": 3}, "Did you mean 'latent_dim'"),
        ({"history": 0}, "history"),
    ],
)
def test_a_wrong_configuration_is_refused_with_a_hint(options: dict, message: str):
    with pytest.raises((KeyError, ValueError), match=message):
        build_model("jepa", {"action_size": 2, **options})
