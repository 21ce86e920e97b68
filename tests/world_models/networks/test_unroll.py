"""Test that cached rollouts equal rollouts that recompute everything."""

import pytest
import torch

from jepabench.world_models.base import Context, rollout, rollout_with
from jepabench.world_models.networks.history_transformer import AdaLNPredictor
from jepabench.world_models.networks.precision import convert_precision
from jepabench.world_models.registry import build_model


def state_model(predictor="adaln", history=3, **options):
    """A model of the state whose predictor, unlike a new one, listens to the actions."""
    config = {
        "encoder": "state",
        "encoder_options": {"mean": [0.0] * 4, "std": [1.0] * 4},
        "latent_dim": 4,
        "action_size": 2,
        "observation_key": "observation",
        "predictor": predictor,
        "history": history,
        "predictor_options": options,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("jepa", config).eval().requires_grad_(False)
        for parameter in model.predictor.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    return model


@pytest.mark.parametrize("known", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"width": 24, "num_heads": 2, "head_size": 16, "mlp_width": 40, "out_width": 20},
        {"predictor": "mlp", "depth": 1},
        {"predictor": "mlp", "width": 24, "depth": 3, "dropout": 0.5},
        {"predictor": "mlp", "history": 1},
    ],
)
@pytest.mark.parametrize("samples", [1, 5, 80])
def test_unrolling_equals_predicting_step_by_step(known, options, samples):
    # In double precision: rounding to single reaches the tolerance on some machines.
    model = state_model(**options).double()
    generator = torch.Generator().manual_seed(1)
    context = Context(
        torch.randn(2, known, 4, generator=generator).double().requires_grad_(),
        torch.randn(2, known - 1, 2, generator=generator).double(),
    )
    actions = torch.randn(2, samples, 6, 2, generator=generator).double().requires_grad_()
    with torch.inference_mode():
        imagined = rollout(model, context, actions)
    quick, slow = (
        rollout(model, context, actions),
        rollout_with(model.predict, model.history, context, actions),
    )
    torch.testing.assert_close(imagined, slow, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(quick, slow, atol=1e-5, rtol=1e-4)
    weights = torch.randn(quick.shape, generator=generator).double()
    inputs = (actions, context.latents)
    for fast, exact in zip(
        *(torch.autograd.grad((out * weights).sum(), inputs) for out in (quick, slow)), strict=True
    ):
        largest = exact.abs().amax()
        torch.testing.assert_close(fast / largest, exact / largest, atol=1e-5, rtol=1e-4)


def test_the_gradient_of_a_rollout_agrees_with_finite_differences():
    model = state_model("mlp", width=8).double()
    context = Context(torch.randn(1, 3, 4).double(), torch.randn(1, 2, 2).double())
    actions = torch.randn(1, 2, 4, 2).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda plans: rollout(model, context, plans), actions)


def test_unrolling_is_for_planning_not_for_training():
    latents, actions = torch.zeros(3, 2, 4), torch.zeros(3, 4, 2)
    for predictor in ("adaln", "mlp"):
        model = state_model(predictor)
        assert model.unroll(latents, actions) is not None
        assert model.train().unroll(latents, actions) is None
    assert model.eval().requires_grad_(True).unroll(latents, actions) is None
    with torch.no_grad():
        assert model.unroll(latents, actions) is not None


@pytest.mark.parametrize("predictor", ["adaln", "mlp"])
def test_bfloat16_ranks_plans_as_float32_does(predictor):
    model = state_model(predictor)
    narrow = convert_precision(model, "bfloat16")
    context = Context(torch.zeros(1, 3, 4), torch.zeros(1, 2, 2))
    actions = torch.randn(1, 200, 5, 2, generator=torch.Generator().manual_seed(0))
    wide, rounded = (rollout(m, context, actions)[0, :, -1] for m in (model, narrow))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, wide, atol=0.05 * float(wide.std()), rtol=0.05)
    costs = torch.stack([(latents - 0.5).square().mean(1) for latents in (wide, rounded)])
    ranks = costs.argsort(1).argsort(1).float()
    assert float(torch.corrcoef(ranks)[0, 1]) > 0.99
    assert model.predictor.state_dict().keys() == narrow.predictor.state_dict().keys()
    assert next(model.predictor.parameters()).dtype == torch.float32


def test_an_unsupported_precision_is_refused():
    with pytest.raises(KeyError, match="Did you mean 'bfloat16'"):
        convert_precision(state_model(), "bfloat15")
    with pytest.raises(ValueError, match="AdaLNPredictor and MLPPredictor"):
        model = state_model()
        model.predictor = torch.nn.Linear(1, 1)
        convert_precision(model, "bfloat16")


def test_lewm_has_its_published_size():
    """Predictor 10.79 M, its output projection .79 M (arXiv 2603.19312; counted in the released
    code).
    """
    predictor = AdaLNPredictor(
        latent_dim=192,
        action_size=10,
        width=192,
        depth=6,
        num_heads=16,
        head_size=64,
        mlp_width=2048,
        out_width=2048,
    )
    count = sum(parameter.numel() for parameter in predictor.parameters()) / 1e6
    assert count == pytest.approx(10.79 + 0.79, abs=0.2)
