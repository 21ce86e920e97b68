"""Test data collection that follows the disagreement of an ensemble."""

import filecmp
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from jepabench.agents.collection.curiosity import CuriousBehaviour
from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.world_models.base import Context
from jepabench.world_models.checkpoint import CheckpointError, load_world_model
from jepabench.world_models.training.batches import ActionScale
from jepabench.world_models.training.fit import fit

TASK = "jepabench/TwoRoom-v1"
SIZES = {"num_episodes": 6, "num_steps": 6, "pixels": None, "num_workers": 1, "progress": False}


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("curiosity")
    data = [
        collect(TASK, folder / split, **{**SIZES, "num_episodes": 20}, split=split)
        for split in ("train", "validation")
    ]
    fit(
        dataset=data[0].path,
        validation=data[1].path,
        directory=folder / "model",
        seed=0,
        kind="ensemble",
        model={
            "encoder": "state",
            "history": 1,
            "rollout_steps": 2,
            "predictor_options": {"width": 32, "depth": 1},
        },
        training={"num_steps": 60, "batch_size": 32, "learning_rate": 5e-3, "diagnose_every": 100},
        progress=False,
    )
    return folder / "model"


@pytest.fixture(scope="module")
def curious(ensemble, tmp_path_factory) -> EpisodeDataset:
    path = tmp_path_factory.mktemp("collected") / "curious"
    return collect(TASK, path, behaviour=CuriousBehaviour(ensemble), **SIZES)


def disagreement(dataset: EpisodeDataset, model_path: Path) -> float:
    """Mean disagreement along what was done in each episode, imagined from its start."""
    loaded = load_world_model(model_path)
    start = loaded.model.encode(
        torch.from_numpy(dataset.field("observation")[dataset.starts].astype(np.float32))
    )
    actions = torch.from_numpy(
        np.stack([episode.actions for episode in map(dataset.__getitem__, range(len(dataset)))])
    )
    context = Context(start[:, None], torch.zeros(len(start), 0, 2))
    return float(
        loaded.model.disagreement(context, loaded.scale.normalise(actions)[:, None]).mean()
    )


def test_curiosity_prefers_actions_with_disagreement(curious, ensemble, tmp_path):
    random = collect(TASK, tmp_path / "random", **SIZES)
    assert seeds_of(random) == seeds_of(curious)
    assert disagreement(curious, ensemble) > 1.5 * disagreement(random, ensemble)


def seeds_of(dataset: EpisodeDataset) -> list[int]:
    return [dataset[index].seed for index in range(len(dataset))]


def test_the_manifest_describes_the_collection_and_reproduces_it(curious, ensemble, tmp_path):
    name = CuriousBehaviour(ensemble).name
    assert name.startswith("curiosity-") and curious.manifest.behaviour == name
    assert CuriousBehaviour(ensemble, execute_steps=1).name != name
    again = collect(TASK, tmp_path / "again", behaviour=CuriousBehaviour(ensemble), **SIZES)
    assert filecmp.cmp(again.path / "action.npy", curious.path / "action.npy", shallow=False)
    assert ActionScale.from_dataset(curious).std.min() > 0


@pytest.mark.slow
def test_processes_make_the_same_data(curious, ensemble, tmp_path):
    many = collect(
        TASK, tmp_path / "many", behaviour=CuriousBehaviour(ensemble), **{**SIZES, "num_workers": 2}
    )
    assert filecmp.cmp(many.path / "action.npy", curious.path / "action.npy", shallow=False)


def test_a_missing_model_is_refused_before_any_work(tmp_path):
    with pytest.raises(CheckpointError, match="No world model"):
        CuriousBehaviour(tmp_path)


def test_curiosity_needs_a_world_model(tmp_path):
    command = [
        sys.executable,
        "-m",
        "jepabench",
        "collect",
        TASK,
        str(tmp_path / "d"),
        "--behaviour",
        "curiosity",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Train a world model of kind ensemble" in done.stderr
