"""Test the contract of world model kinds that override `predict`."""

import pytest
import torch

from jepabench.world_models.base import Context, TrajectoryBatch, WorldModel, rollout
from jepabench.world_models.checkpoint import load_world_model, save_world_model
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale

# A kind that needs other options says so here.
OPTIONS: dict[str, dict] = {
    "ensemble": {"num_members": 3},
    "latent-variable": {"variable_size": 4, "width": 16},
    "recurrent": {"history": 4, "memory_size": 16, "width": 16},
}
KINDS = [*OPTIONS, "jepa"]
COMMON = {
    "encoder": "keypoint",
    "encoder_options": {"width": 8, "num_keypoints": 6, "hidden": 16},
    "latent_dim": 12,
    "predictor_options": {"width": 16, "depth": 1},
    "action_size": 2,
    "history": 2,
    "rollout_steps": 2,
    "terms": {"sigreg": {"weight": 0.05, "num_directions": 8}},
}


def make(kind: str) -> WorldModel:
    torch.manual_seed(0)
    model = build_model(kind, COMMON | OPTIONS.get(kind, {}))
    assert isinstance(model, WorldModel)
    return model


def batch(model: WorldModel, size: int = 6) -> TrajectoryBatch:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(
        0, 256, (size, model.window, 64, 64, 3), generator=generator, dtype=torch.uint8
    )
    actions = torch.randn(size, model.window - 1, 2, generator=generator)
    return TrajectoryBatch({"pixels": frames}, actions, torch.zeros(size, model.window, 4))


def context_of(model: WorldModel, size: int = 6) -> Context:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(size, model.history, 12, generator=generator)
    return Context(latents, torch.randn(size, model.history - 1, 2, generator=generator))


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns_and_the_same_stream_gives_the_same_losses(kind: str):
    model = make(kind)
    first, again = (model.losses(batch(model), torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in (first | again))
    sum(first.values()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("kind", KINDS)
def test_imagination_depends_only_on_its_own_actions(kind: str):
    model = make(kind).eval()
    context = context_of(model)
    actions = torch.randn(
        6, 3, 4, 2, generator=torch.Generator().manual_seed(2), requires_grad=True
    )
    imagined = rollout(model, context, actions)
    assert imagined.shape == (6, 3, 4, 12)
    gradient = torch.autograd.grad(imagined[2, 1, 1].sum(), actions)[0]
    assert float(gradient[2, 1, :2].abs().sum()) > 0
    gradient[2, 1, :2] = 0
    assert float(gradient.abs().sum()) == 0  # neither other candidates nor later actions matter
    alone = rollout(model, Context(context.latents[2:3], context.actions[2:3]), actions[2:3, 1:2])
    torch.testing.assert_close(alone[0, 0], imagined[2, 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_imagined_step_equals_predict(kind: str):
    model = make(kind).eval()
    context = context_of(model)
    actions = torch.randn(6, 1, 1, 2, generator=torch.Generator().manual_seed(2))
    said = model.predict(context.latents, torch.cat([context.actions, actions[:, 0]], dim=1))
    torch.testing.assert_close(
        rollout(model, context, actions)[:, 0, 0], said, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_loads_the_same(kind: str, tmp_path):
    model = make(kind).eval()
    scale = ActionScale(torch.zeros(2), torch.ones(2))
    save_world_model(
        tmp_path, kind=kind, model=model, scale=scale, task_id="jepabench/TwoRoom-v1", metadata={}
    )
    loaded = load_world_model(tmp_path).model
    context, actions = context_of(model), torch.ones(6, 2, 3, 2)
    with torch.no_grad():  # weights that need a gradient take another path, with other rounding
        torch.testing.assert_close(
            rollout(loaded, context, actions), rollout(model, context, actions), atol=0, rtol=0
        )
