"""Fixture with a tiny dataset of a real environment for all tests of this folder."""

from pathlib import Path

import pytest

from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import EpisodeDataset


@pytest.fixture(scope="session")
def two_room(tmp_path_factory: pytest.TempPathFactory) -> tuple[EpisodeDataset, EpisodeDataset]:
    folder: Path = tmp_path_factory.mktemp("two_room")
    common = {"num_steps": 8, "num_workers": 1, "progress": False}
    train = collect("jepabench/TwoRoom-v1", folder / "train", num_episodes=40, **common)
    held_out = collect(
        "jepabench/TwoRoom-v1", folder / "validation", num_episodes=12, split="validation", **common
    )
    return train, held_out
