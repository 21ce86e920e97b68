import pytest
import torch
from synthetic import draw, train

from jepabench.world_models.base import Context, rollout
from jepabench.world_models.registry import build_model

KINDS = [("categorical", 4), ("gaussian", 2)]
SMALL = {
    "history": 1,
    "rollout_steps": 2,
    "width": 32,
    "predictor_options": {"width": 32, "depth": 2},
}


def coin(batch: int, length: int, generator: torch.Generator):
    """A place that moves by the action and by a coin: a step up or down, each every second time."""
    actions = 0.3 * torch.randn(batch, length - 1, 1, generator=generator)
    luck = (torch.rand(batch, length - 1, 1, generator=generator) < 0.5).float() * 2 - 1
    start = torch.randn(batch, 1, 1, generator=generator)
    return torch.cat([start, start + (actions + luck).cumsum(1)], dim=1), actions


def certain(batch: int, length: int, generator: torch.Generator):
    """The same without the coin."""
    actions = torch.randn(batch, length - 1, 1, generator=generator)
    start = torch.randn(batch, 1, 1, generator=generator)
    return torch.cat([start, start + actions.cumsum(1)], dim=1), actions


@pytest.mark.parametrize(("variable", "size"), KINDS)
def test_sampled_futures_match_the_outcomes_and_the_mean_does_not(variable: str, size: int):
    options = {**SMALL, "variable": variable, "variable_size": size, "information_weight": 0.02}
    model = train("latent-variable", coin, num_steps=220, **options)
    context = Context(torch.zeros(1, 1, 1), torch.zeros(1, 0, 1))
    still = torch.zeros(1, 1, 1, 1)
    ends = model.futures(
        context, still, num_futures=400, generator=torch.Generator().manual_seed(0)
    ).flatten()
    up, down = ends[ends > 0], ends[ends < 0]
    assert 0.3 < len(up) / 400 < 0.7
    assert float(up.median()) == pytest.approx(1.0, abs=0.25) and float(
        down.median()
    ) == pytest.approx(-1.0, abs=0.25)
    plain = train(
        "jepa", coin, num_steps=220, **{key: SMALL[key] for key in SMALL if key != "width"}
    )
    assert abs(float(rollout(plain, context, still)[0, 0, 0, 0])) < 0.4


def test_the_latent_variable_is_unused_in_a_deterministic_world():
    options = {**SMALL, "variable": "categorical", "variable_size": 4, "information_weight": 0.1}
    bought = []
    for world in (coin, certain):
        model = train("latent-variable", world, num_steps=200, **options)
        generator = torch.Generator().manual_seed(2)
        terms = model.losses(draw(world, model, 200, generator), generator)
        bought.append(float(terms["information"]) / 0.1)
    assert bought[0] > 0.4  # a coin is 0.69 nats
    assert bought[1] < 0.15


def test_draws_depend_on_the_stream_and_are_shared_by_all_candidates():
    torch.manual_seed(0)
    options = {
        **SMALL,
        "encoder": "state",
        "encoder_options": {"mean": [0.0], "std": [1.0]},
        "latent_dim": 1,
    }
    model = build_model(
        "latent-variable", {**options, "variable": "gaussian", "action_size": 1}
    ).eval()
    context = Context(torch.zeros(2, 1, 1), torch.zeros(2, 0, 1))
    same = torch.ones(2, 3, 4, 1)
    a, b, c = (
        model.futures(context, same, num_futures=5, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert a.shape == (2, 3, 5, 4, 1)
    assert torch.equal(a, b) and not torch.equal(a, c)
    torch.testing.assert_close(a[0, 0], a[1, 2])
    assert float(a.std(2).detach().min()) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variable": "categorial"}, "Did you mean 'categorical'"),
        ({"variable_size": 0}, "variable_size"),
        ({"information_weight": -1.0}, "information_weight"),
    ],
)
def test_a_wrong_variable_is_refused(options: dict, message: str):
    with pytest.raises((KeyError, ValueError), match=message):
        build_model("latent-variable", {"action_size": 2, **options})
