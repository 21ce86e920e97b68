import numpy as np
import pytest
import torch
from synthetic import train

from jepabench.world_models.base import Context, rollout
from jepabench.world_models.registry import build_model


def pushed(batch: int, length: int, generator: torch.Generator):
    """A place in [-1, 1] that a bent force moves; only small actions occur."""
    actions = 0.4 * (2 * torch.rand(batch, length - 1, 1, generator=generator) - 1)
    states = [2 * torch.rand(batch, 1, generator=generator) - 1]
    for action in actions.unbind(1):
        states.append((states[-1] + torch.sin(3 * action)).clamp(-1, 1))
    return torch.stack(states, dim=1), actions


@pytest.fixture(scope="module")
def ensemble():
    options = {
        "history": 1,
        "rollout_steps": 2,
        "num_members": 5,
        "predictor_options": {"width": 32, "depth": 2},
    }
    return train("ensemble", pushed, num_steps=160, **options)


def test_members_disagree_outside_the_data(ensemble):
    context = Context(torch.zeros(1, 1, 1), torch.zeros(1, 0, 1))
    known = torch.linspace(-0.4, 0.4, 20).view(1, 20, 1, 1)
    unknown = torch.cat([torch.linspace(1, 3, 10), torch.linspace(-3, -1, 10)]).view(1, 20, 1, 1)
    calm, upset = (ensemble.disagreement(context, actions) for actions in (known, unknown))
    assert calm.shape == (1, 20, 1)
    assert float(upset.mean()) > 20 * float(calm.mean())


def test_disagreement_is_large_where_the_prediction_is_wrong(ensemble):
    context = Context(torch.zeros(1, 1, 1), torch.zeros(1, 0, 1))
    actions = torch.linspace(-1.5, 1.5, 61).view(1, 61, 1, 1)
    error = (
        rollout(ensemble, context, actions).flatten()
        - torch.sin(3 * actions.flatten()).clamp(-1, 1)
    ).abs()
    ranks = [
        np.argsort(np.argsort(values.numpy()))
        for values in (error, ensemble.disagreement(context, actions).flatten())
    ]
    assert np.corrcoef(*ranks)[0, 1] > 0.5


def test_the_prediction_is_the_mean_of_the_members(ensemble):
    latents, actions = torch.randn(7, 1, 1), torch.randn(7, 1, 1)
    members = torch.stack([member(latents, actions) for member in ensemble.predictor.members])
    torch.testing.assert_close(ensemble.predict(latents, actions), members.mean(0))
    assert float(members.var(0).min()) > 0


@pytest.mark.parametrize("options", [{"num_members": 1}, {"share": 0.0}, {"share": 1.5}])
def test_an_ensemble_has_members_that_learn(options: dict):
    with pytest.raises(ValueError, match="num_members must be at least 2"):
        build_model("ensemble", {"action_size": 2, **options})


def test_members_of_several_kinds_are_averaged():
    options = {
        "latent_dim": 4,
        "action_size": 2,
        "encoder_options": {"mean": [0.0] * 4, "std": [1.0] * 4},
        "encoder": "state",
    }
    other = {"predictor": "mlp", "predictor_options": {"width": 8, "depth": 1}}
    model = build_model(
        "ensemble",
        {**options, "num_members": 1, "others": [other], "observation_key": "observation"},
    )
    sizes = [
        sum(weights.numel() for weights in member.parameters())
        for member in model.predictor.members
    ]
    assert len(sizes) == 2 and sizes[1] < sizes[0]
    latents, actions = torch.randn(3, model.history, 4), torch.randn(3, model.history, 2)
    one, two = (member(latents, actions) for member in model.predictor.members)
    assert torch.allclose(model.predict(latents, actions), (one + two) / 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_members": 1}, "1, 0 others"),
        ({"others": [{"predictr": "mlp"}]}, "predictr"),
        ({"others": [{"predictor": "mlp", "width": 8}]}, "width"),
    ],
)
def test_refuses_invalid_members(settings, message):
    with pytest.raises(ValueError, match=message):
        build_model("ensemble", {"latent_dim": 4, "action_size": 2, **settings})
