"""Small real data and world models of TwoRoom, made once for all tests of this folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.checkpoint import LoadedWorldModel, load_world_model
from jepabench.world_models.checkpoint import save_world_model as save
from jepabench.world_models.registry import build_model
from jepabench.world_models.training.batches import ActionScale
from jepabench.world_models.training.fit import fit

TWO_ROOM = "jepabench/TwoRoom-v1"


@pytest.fixture
def generator() -> np.random.Generator:
    """The random stream of a test of statistics."""
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> tuple[EpisodeDataset, EpisodeDataset]:
    """A training set and held-out episodes."""
    folder: Path = tmp_path_factory.mktemp("episodes")
    common = {"num_steps": 12, "num_workers": 1, "progress": False}
    train = collect(TWO_ROOM, folder / "train", num_episodes=60, **common)
    held_out = collect(
        TWO_ROOM, folder / "validation", num_episodes=40, split="validation", **common
    )
    return train, held_out


@pytest.fixture(scope="session")
def state_twin(episodes, tmp_path_factory: pytest.TempPathFactory) -> LoadedWorldModel:
    """A briefly trained world model of the true state; its latent is the standardised state."""
    train, held_out = episodes
    folder = tmp_path_factory.mktemp("state_twin")
    fit(
        dataset=train.path,
        validation=held_out.path,
        directory=folder,
        seed=0,
        kind="jepa",
        progress=False,
        model={
            "encoder": "state",
            "history": 1,
            "rollout_steps": 2,
            "predictor_options": {"width": 64},
        },
        training={"num_steps": 300, "batch_size": 64, "learning_rate": 3e-3, "on_collapse": "warn"},
    )
    return load_world_model(folder)


@pytest.fixture(scope="session")
def pixel_model(episodes, tmp_path_factory: pytest.TempPathFactory) -> LoadedWorldModel:
    """A world model of pixels that has learned nothing."""
    folder = tmp_path_factory.mktemp("pixel_model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("jepa", {"latent_dim": 8, "action_size": 2, "history": 2})
    save(
        folder,
        kind="jepa",
        model=model,
        scale=ActionScale.from_dataset(episodes[0]),
        task_id=TWO_ROOM,
        metadata={"folder": str(folder)},
    )
    return load_world_model(folder)
