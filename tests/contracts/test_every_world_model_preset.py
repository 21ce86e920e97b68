"""Build every world model preset and take one training step on random frames."""

import pytest
import torch

from jepabench.pipeline.config import load_preset, options
from jepabench.world_models.base import TrajectoryBatch, WorldModel
from jepabench.world_models.networks.backbones import BackboneError
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.config import TrainConfig

NEEDS_A_FILE = {"dino-wm-dinov2", "dino-wm-dinov3"}
OF_STATE = {
    "encoder_options": {"mean": [0.0] * 4, "std": [1.0] * 4},
    "latent_dim": 4,
    "observation_key": "observation",
}


@pytest.mark.parametrize("name", sorted(NEEDS_A_FILE))
def test_a_preset_without_its_weights_names_the_setting(name: str):
    preset = load_preset("world_model", name)
    with pytest.raises(BackboneError, match=r"No weights at .* model\.backbone_options\.weights="):
        build_model(preset["kind"], {**preset["model"], "action_size": 10})


@pytest.mark.parametrize("name", sorted(set(options("world_model")) - NEEDS_A_FILE))
def test_a_preset_takes_a_training_step(name: str):
    preset = load_preset("world_model", name)
    assert preset["description"]
    TrainConfig.from_settings(preset["training"])
    model_options = {**preset["model"], "action_size": 10}
    if model_options.get("encoder") == "state":
        model_options |= OF_STATE
    torch.manual_seed(0)
    model = build_model(preset["kind"], model_options)
    assert isinstance(model, WorldModel)
    generator = torch.Generator().manual_seed(0)
    size = (4, model.window)
    frames = {
        "pixels": torch.randint(0, 256, (*size, 64, 64, 3), generator=generator, dtype=torch.uint8),
        "observation": torch.randn(*size, 4, generator=generator),
    }[model.observation_key]
    actions = torch.randn(4, model.window - 1, 10, generator=generator)
    batch = TrajectoryBatch({model.observation_key: frames}, actions, torch.zeros(*size, 4))
    terms = model.losses(batch, generator)
    assert all(torch.isfinite(term) and term.ndim == 0 for term in terms.values())
    sum(terms.values()).backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
