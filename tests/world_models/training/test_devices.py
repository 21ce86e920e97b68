"""Test that two CPU processes (gloo) train like one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jepabench.envs.errors import UnknownNameError
from jepabench.world_models.checkpoint import load_world_model
from jepabench.world_models.training.config import TrainConfig
from jepabench.world_models.training.devices import gather_batch, select_device

pytest.importorskip("accelerate")
ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, sys
from pathlib import Path
from jepabench.world_models.training.devices import get_rank
from jepabench.world_models.training.fit import fit
data, held_out, folder, terms = sys.argv[1:]
if get_rank():
    folder += "-helper"
fit(
    dataset=Path(data), validation=Path(held_out), directory=Path(folder), seed=0,
    kind="jepa", progress=False,
    model={
        "encoder": "conv", "encoder_options": {"width": 8}, "latent_dim": 8, "history": 1,
        "rollout_steps": 2,
        "predictor_options": {"width": 32, "depth": 1}, "terms": json.loads(terms),
    },
    training={"num_steps": 4, "batch_size": 16, "learning_rate": 1e-3, "diagnose_every": 100,
        "on_collapse": "warn"},
)
"""
SIGREG = '{"sigreg": {"weight": 0.1, "num_directions": 32}, "inverse_dynamics": {"weight": 1.0}}'
VICREG = (
    '{"variance": {"weight": 1.0}, "covariance": {"weight": 0.04}, '
    '"infonce": {"weight": 0.1}, "barlow": {"weight": 0.01}}'
)


def start(data, folder, terms, **variables):
    arguments = [str(data[0].path), str(data[1].path), str(folder), terms]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("terms", [SIGREG, VICREG], ids=["sigreg", "vicreg"])
def test_two_processes_train_like_one(two_room, tmp_path, terms):
    finish(start(two_room, tmp_path / "one", terms))
    meeting = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    several = [
        start(two_room, tmp_path / "two", terms, RANK=r, LOCAL_RANK=r, **meeting) for r in "01"
    ]
    for process in several:
        finish(process)
    one, two = (load_world_model(tmp_path / name).model.state_dict() for name in ("one", "two"))
    assert not (tmp_path / "two-helper" / "model.safetensors").exists()
    for name, value in one.items():
        # Adam's first steps have the size of the learning rate, 1e-3, whatever the gradient: a few
        # entries may differ by that.
        assert (two[name] - value).abs().mean() < 3e-5, name


def test_the_share_of_a_single_process_is_the_whole_batch():
    share = torch.randn(3, 2)
    assert gather_batch(share) is share


def test_an_unavailable_device_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean"):
        TrainConfig(device="cuda0")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no such GPU"):
            select_device("cuda")
