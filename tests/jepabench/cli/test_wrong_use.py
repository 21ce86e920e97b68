"""Test that mistakes print one helpful sentence and leave no partial output."""

import json
import pickle
import socket
import sys
import zipfile

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

import jepabench
from jepabench.evaluation.agent_outputs import AgentError
from jepabench.main import main

pytestmark = pytest.mark.filterwarnings("ignore:.*GPU.*:UserWarning")
RUN = ["run", "suite=smoke"]
IMPORT = ["--task", "TwoRoom"]

# The command, what the sentence says, and packages that are not installed.
DOORS = {
    # -- policies of Stable-Baselines3
    "sb3: no such file": ([*RUN, "agent=sb3:none.zip", "--trust"], "none.zip", ()),
    "sb3: without trust": ([*RUN, "agent=sb3:data/ppo.zip"], "--trust", ()),
    "sb3: no zip": ([*RUN, "agent=sb3:text.zip", "--trust"], "text.zip", ()),
    "sb3: another zip": ([*RUN, "agent=sb3:other.zip", "--trust"], "other.zip", ()),
    "sb3: no path": ([*RUN, "agent=sb3:", "--trust"], "sb3:", ()),
    "sb3: missing extra": (
        [*RUN, "agent=sb3:data/ppo.zip", "--trust"],
        "jepabench[models]",
        ("stable_baselines3",),
    ),
    # -- agents and presets of others
    "agent: no such class": ([*RUN, "agent=nowhere:Agent"], "nowhere", ()),
    "agent: no such name": ([*RUN, "agent=jepa-cen"], "jepa-cem", ()),
    "config-dir: missing": ([*RUN, "--config-dir", "nowhere"], "nowhere", ()),
    "config-dir: a file": ([*RUN, "--config-dir", "text.zip"], "text.zip", ()),
    "config-dir: no presets": ([*RUN, "--config-dir", "empty"], "empty", ()),
    # -- sweeps over values
    "sweep: unknown key": (
        ["sweep", "suite=smoke", "agent=jepa-cem", "agent.jepa-cem.planner.samples=1,2"],
        "num_samples",
        (),
    ),
    "sweep: unknown agent": (
        ["sweep", "suite=smoke", "agent.jepa-cen.planner.num_samples=1,2"],
        "jepa-cen",
        (),
    ),
    "sweep: no value": (
        ["sweep", "suite=smoke", "agent=jepa-cem", "agent.jepa-cem.planner.num_samples="],
        "num_samples",
        (),
    ),
    "sweep: shared key": (["sweep", "suite=smoke", "num_workers=1,2"], "num_workers", ()),
    # -- importers
    "lerobot: missing": (
        ["import", "nowhere", "new", "--format", "lerobot", *IMPORT],
        "nowhere",
        (),
    ),
    "lerobot: empty": (["import", "empty", "new", "--format", "lerobot", *IMPORT], "empty", ()),
    "lerobot: damaged": (["import", "broken", "new", "--format", "lerobot", *IMPORT], "broken", ()),
    "hdf5: missing": (["import", "nowhere.h5", "new", *IMPORT], "nowhere.h5", ()),
    "hdf5: damaged": (["import", "text.h5", "new", *IMPORT], "text.h5", ()),
    "hdf5: missing extra": (["import", "text.h5", "new", *IMPORT], "jepabench[hdf5]", ("h5py",)),
    "lance: missing extra": (
        ["import", "empty.lance", "new", *IMPORT],
        "jepabench[lance]",
        ("lance",),
    ),
    "minari: unknown": (["import", "a/b-v0", "new", "--format", "minari", *IMPORT], "a/b-v0", ()),
    "minari: missing extra": (
        ["import", "a/b-v0", "new", "--format", "minari", *IMPORT],
        "jepabench[minari]",
        ("minari",),
    ),
    "import: unknown format": (["import", "empty", "new", *IMPORT], "--format", ()),
    "lewm: no task": (["import", "empty", "new", "--format", "lewm"], "--task", ()),
    "lewm: empty": (["import", "empty", "new", "--format", "lewm", *IMPORT], ".pt", ()),
    "lewm: a pickle": (["import", "pickle.pt", "new", "--format", "lewm", *IMPORT], "code", ()),
    "export: no dataset": (["export", "empty", "new.h5"], "empty", ()),
    # -- the Hub
    "hub: wrong name": (["pull", "hf://name", "new"], "user/name", ()),
    "hub: missing extra": (
        ["pull", "hf://user/name", "new"],
        "jepabench[hub]",
        ("huggingface_hub",),
    ),
    "hub: missing extra for a dataset": (
        ["train", "hf://user/name", "empty", "new"],
        "jepabench[hub]",
        ("huggingface_hub",),
    ),
    "hub: nothing to push": (["push", "empty", "user/name"], "not a checkpoint", ()),
    # -- trackers
    "tracker: unknown": ([*RUN, "tracker=wanda"], "wandb", ()),
    "tracker: missing extra": ([*RUN, "tracker=mlflow"], "jepabench[mlflow]", ("mlflow",)),
    # -- devices
    "device: no GPU for planning": (
        [*RUN, "agent=jepa-cem", "agent.jepa-cem.device=cuda"],
        "sees no such GPU",
        (),
    ),
    "device: no GPU for a world model": (
        [*RUN, "agent=jepa-cem", "world_model.jepa.training.device=cuda"],
        "sees no such GPU",
        (),
    ),
    "device: no GPU for RL": (
        [*RUN, "agent=sac-her", "agent.sac-her.train.device=cuda"],
        "sees no such GPU",
        (),
    ),
    "device: no GPU for an offline policy": (
        ["sweep", "suite=smoke", "agent=gcbc", "agent.gcbc.train.device=mps"],
        "sees no such GPU",
        (),
    ),
    "device: unknown": (
        [*RUN, "agent=jepa-cem", "agent.jepa-cem.device=gpu"],
        "Known: cpu, cuda, mps",
        (),
    ),
    "device: no GPU to train on": (
        ["train", "data/train", "data/held-out", "new", "training.device=cuda"],
        "sees no such GPU",
        (),
    ),
    "device: missing extra": (
        ["train", "data/train", "data/held-out", "new", "training.device=cuda"],
        "jepabench[accelerate]",
        ("accelerate",),
    ),
    # -- submissions, demo and watch
    "pull request: no clone": (
        ["submit", "random", "suite=smoke", "--pull-request", "empty"],
        "empty",
        (),
    ),
    "demo: unknown checkpoint": (["demo", "two-rom", "--no-browser"], "two-room", ()),
    "demo: another family": (["demo", "reach", "--no-browser"], "maze, pusht", ()),
    "demo: used port": (["demo", "--no-browser", "--port", "PORT"], "--port", ()),
    "watch: unknown suite": (["watch", "suite=smok", "--no-browser"], "smoke", ()),
    "watch: used port": (["watch", "--no-browser", "--port", "PORT"], "--port", ()),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from jepabench.envs.data.collect import collect

    folder = tmp_path_factory.mktemp("data")
    common = {"num_steps": 4, "pixels": None, "num_workers": 1, "progress": False}
    collect("jepabench/TwoRoom-v1", folder / "train", num_episodes=2, **common)
    collect(
        "jepabench/TwoRoom-v1", folder / "held-out", num_episodes=2, split="validation", **common
    )
    PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu").save(folder / "ppo.zip")
    return folder


@pytest.fixture
def folder(tmp_path, data, monkeypatch):
    """A working directory, with a space in its name, that holds wrong files."""
    here = tmp_path / "my work"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in ("text.zip", "text.h5"):
        (here / name).write_text("no archive", encoding="utf-8")
    with zipfile.ZipFile(here / "other.zip", "w") as file:
        file.writestr("a.txt", "a")
    (here / "pickle.pt").write_bytes(pickle.dumps(print, protocol=2))
    for name in ("empty", "empty.lance", "broken"):
        (here / name).mkdir()
    (here / "broken" / "meta").mkdir()
    (here / "broken" / "meta" / "info.json").write_text("{", encoding="utf-8")
    (here / "data").symlink_to(data)
    return here


@pytest.mark.parametrize("door", DOORS)
def test_wrong_use_prints_one_sentence_and_writes_nothing(door, folder, monkeypatch, capsys):
    command, message, missing = DOORS[door]
    for package in missing:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
    before = sorted(folder.rglob("*"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        try:
            code = main([port if word == "PORT" else word for word in command])
        except SystemExit as stopped:
            code = stopped.code
    error = capsys.readouterr().err
    assert code in (1, 2), (code, error)
    assert error.startswith("error: ") and error.count("\n") == 1, error
    assert message in error, error
    assert "Traceback" not in error and len(error) < 1200  # it may list all names, error
    assert sorted(folder.rglob("*")) == before


def wrong_size(inputs):
    return torch.zeros(1, 3)


def unknown_input(observations):
    return torch.zeros(1, 2)


MODULES = {
    "no task": (lambda: jepabench.evaluate(wrong_size, episodes=1), "Name the task"),
    "wrong size": (lambda: jepabench.evaluate(wrong_size, task="TwoRoom", episodes=1), "3"),
    "unknown task": (lambda: jepabench.evaluate(wrong_size, task="TwoRom"), "TwoRoom"),
    "no tensor": (
        lambda: jepabench.evaluate(lambda inputs: "left", task="TwoRoom", episodes=1),
        "action",
    ),
    "not finite": (
        lambda: jepabench.evaluate(
            lambda inputs: torch.full((1, 2), np.nan), task="TwoRoom", episodes=1, progress=False
        ),
        "finite",
    ),
    "no GPU": (
        lambda: jepabench.make_agent(
            "jepa-cem", world_model="two-room", overrides=["agent.device=cuda"]
        ),
        "sees no such GPU",
    ),
}


@pytest.mark.parametrize("mistake", MODULES)
def test_a_wrong_call_from_python_raises_one_sentence(mistake, folder):
    call, message = MODULES[mistake]
    before = sorted(folder.rglob("*"))
    with pytest.raises((ValueError, KeyError, AgentError), match=message) as caught:
        call()
    assert str(caught.value).strip().count("\n") == 0
    assert sorted(folder.rglob("*")) == before


def test_completion_without_its_package_prints_one_sentence(folder, monkeypatch, capsys):
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setenv("COMP_LINE", "jepabench run ")
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    assert main(["run"]) == 2
    error = capsys.readouterr().err
    assert "jepabench[completion]" in error and error.count("\n") == 1


def test_a_saved_sweep_that_is_damaged_is_named(folder, capsys):
    sweeps = folder / "outputs" / "sweeps"
    sweeps.mkdir(parents=True)
    (sweeps / "smoke-00000000.json").write_text("{", encoding="utf-8")
    assert main(["status"]) == 2
    error = capsys.readouterr().err
    assert "smoke-00000000.json" in error and error.count("\n") == 1
    (sweeps / "smoke-00000000.json").write_text(json.dumps({"suite": 3}), encoding="utf-8")
    assert main(["status"]) in (1, 2)
    assert capsys.readouterr().err.count("\n") == 1
