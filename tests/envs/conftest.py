"""Fixtures that tests of several environments share."""

import tempfile

import pytest
from small_episodes import PROVENANCE, make_episode

from jepabench.envs.data.writing import write_dataset


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """Where the package's mazes leave the file of their model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("mazes")))
        yield


@pytest.fixture
def episodes():
    return [make_episode(num_steps, seed=seed) for seed, num_steps in enumerate((5, 1, 8, 3))]


@pytest.fixture
def dataset(tmp_path, episodes):
    return write_dataset(tmp_path / "data", iter(episodes), provenance=PROVENANCE)
