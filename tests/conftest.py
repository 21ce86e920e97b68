"""Fixtures that tests of several packages share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def restore_process_state():
    """Forget the modules and the preset folders that a test named in this process."""
    from jepabench.envs import registry
    from jepabench.pipeline.presets.search_path import set_search_path

    imported = list(registry._IMPORTED)
    yield
    registry._IMPORTED[:] = imported
    set_search_path(None)


@pytest.fixture(scope="session")
def save_twin():
    """Saves a model of TwoRoom whose latent is the standardised state and whose predictor has
    learned nothing, in one or more folders.

    Their weights differ. Returns the first folder.
    """
    from jepabench.world_models.checkpoint import save_world_model
    from jepabench.world_models.registry import build_model
    from jepabench.world_models.training.batches import ActionScale

    def save(*folders, std=(1.0, 1.0, 1.0, 1.0)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build_model(
                "jepa",
                {
                    "encoder": "state",
                    "encoder_options": {"mean": [0.0] * 4, "std": list(std)},
                    "latent_dim": 4,
                    "observation_key": "observation",
                    "action_size": 2,
                },
            )
        scale = ActionScale(torch.zeros(2), torch.ones(2))
        for folder in folders:
            save_world_model(
                folder,
                kind="jepa",
                model=model,
                scale=scale,
                task_id="jepabench/TwoRoom-v1",
                metadata={},
            )
            with torch.no_grad():
                next(model.parameters()).add_(1.0)
        return folders[0]

    return save
