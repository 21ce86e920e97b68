import pytest
import torch
from synthetic import draw, train

from jepabench.world_models.base import Context, rollout


def cue(batch: int, length: int, generator: torch.Generator):
    """Shows a number in the first frame, and again whenever the action asks for it; nothing in
    between.
    """
    number = torch.randn(batch, 1, generator=generator)
    actions = (torch.rand(batch, length - 1, 1, generator=generator) < 0.4).float()
    shown = torch.cat([torch.ones(batch, 1), actions[..., 0]], dim=1)
    return torch.stack([number * shown, shown], dim=2), actions


def error_of_recall(history: int) -> float:
    """Mean squared error of the number, asked for two steps after it was last seen; its variance is
    1.
    """
    options = {"history": history, "rollout_steps": 2, "memory_size": 24, "width": 32}
    model = train("recurrent", cue, num_steps=160, **options)
    generator = torch.Generator().manual_seed(2)
    number = torch.randn(200, generator=generator)
    frames = torch.zeros(200, 3, 2)
    frames[:, 0] = torch.stack([number, torch.ones(200)], dim=1)
    context = Context(frames[:, 3 - min(history, 3) :], torch.zeros(200, min(history, 3) - 1, 1))
    imagined = rollout(model, context, torch.ones(200, 1, 1, 1))[:, 0, 0, 0]
    return float((imagined - number).square().mean())


def test_a_recurrent_model_predicts_what_a_memoryless_one_cannot():
    assert error_of_recall(4) < 0.15
    assert error_of_recall(1) > 0.8


def test_imagining_equals_reading_a_longer_context():
    model = train("recurrent", cue, num_steps=1, history=3, rollout_steps=2, memory_size=8, width=8)
    batch = draw(cue, model, 4, torch.Generator().manual_seed(0))
    latents = model.encode(batch.observations["observation"].flatten(0, 1)).view(4, 5, 2)
    context = Context(latents[:, :3], batch.actions[:, :2])
    imagined = rollout(model, context, batch.actions[:, None, 2:])[:, 0]
    longer = Context(torch.cat([latents[:, :3], imagined[:, :1]], dim=1), batch.actions[:, :3])
    torch.testing.assert_close(
        rollout(model, longer, batch.actions[:, None, 3:])[:, 0, 0], imagined[:, 1]
    )


@pytest.mark.parametrize("length", [1, 2, 7])
def test_contexts_of_any_length_are_read(length: int):
    model = train("recurrent", cue, num_steps=1, history=3, rollout_steps=1, memory_size=8, width=8)
    context = Context(torch.ones(2, length, 2), torch.ones(2, length - 1, 1))
    assert model.memory(context).shape == (2, 8)
    assert rollout(model, context, torch.ones(2, 3, 2, 1)).shape == (2, 3, 2, 2)
