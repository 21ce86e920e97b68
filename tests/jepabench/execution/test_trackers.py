"""Test experiment trackers: what they receive, and that they change no result."""

import importlib.util
import random
import sqlite3

import numpy as np
import pytest
import torch
from accelerate.tracking import GeneralTracker
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import jepabench
from jepabench.agents.model_free.offline import gcbc
from jepabench.agents.model_free.online import off_policy, ppo
from jepabench.envs.data.collect import collect
from jepabench.envs.errors import UnknownNameError
from jepabench.main import main
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan
from jepabench.world_models.training import tracking
from jepabench.world_models.training.fit import fit
from jepabench.world_models.training.tracking import ScalarLog, TrackedRun, check_tracker, track

TWO_ROOM = "jepabench/TwoRoom-v1"
MODEL = {
    "encoder": "state",
    "latent_dim": 4,
    "history": 1,
    "rollout_steps": 1,
    "predictor_options": {"width": 8, "depth": 1},
    "terms": {},
}


class RecordingTracker(GeneralTracker):
    """Keeps what it is sent, and draws from every global generator meanwhile."""

    name = "tensorboard"
    requires_logging_directory = False
    runs: dict[str, list[tuple[dict, int]]] = {}
    settings: dict[str, dict] = {}

    def __init__(self, run, folder):
        super().__init__()
        self.run = run

    @property
    def tracker(self):
        return self

    def start(self):
        draw()
        self.runs.setdefault(self.run, [])

    def store_init_configuration(self, values):
        self.settings[self.run] = values

    def log(self, values, step=None, **kwargs):
        draw()
        self.runs[self.run].append((values, step))

    def finish(self):
        draw()
        self.runs[self.run].append(({"finished": 1.0}, -1))


def draw():
    random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setitem(tracking._MAKERS, "tensorboard", RecordingTracker)
    monkeypatch.setattr(RecordingTracker, "runs", {})
    monkeypatch.setattr(RecordingTracker, "settings", {})
    return RecordingTracker


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    common = {"num_steps": 8, "pixels": None, "num_workers": 1, "progress": False}
    collect(TWO_ROOM, folder / "train", num_episodes=20, **common)
    collect(TWO_ROOM, folder / "held-out", num_episodes=4, split="validation", **common)
    return folder


def fit_world_model(data, directory):
    training = {"num_steps": 40, "batch_size": 8, "diagnose_every": 40, "on_collapse": "warn"}
    folders = {"dataset": data / "train", "validation": data / "held-out", "directory": directory}
    fit(**folders, seed=0, kind="jepa", model=MODEL, training=training, progress=False)
    return load_file(directory / "weights.safetensors")


def train_offline(data, directory):
    settings = {"num_steps": 60, "batch_size": 8, "hidden_size": 8, "num_layers": 1}
    common = {"task_id": TWO_ROOM, "dataset": data / "train", "directory": directory, "seed": 0}
    gcbc.train(**common, **settings, progress=False)
    return load_file(directory / "policy.safetensors")


def train_online(data, directory):
    settings = {"num_steps": 320, "checkpoint_every": 160, "learning_starts": 200, "batch_size": 8}
    common = {"task_id": TWO_ROOM, "directory": directory, "seed": 0, "progress": False}
    off_policy.train(**common, **settings, net_arch=(8,))
    return load_file(directory / "policy.safetensors")


def train_ppo(data, directory):
    settings = {"num_steps": 64, "checkpoint_every": 32, "num_envs": 2, "rollout_steps": 16}
    common = {"task_id": TWO_ROOM, "directory": directory, "seed": 0, "progress": False}
    ppo.train(**common, **settings, batch_size=16, num_epochs=1)
    return load_file(directory / "policy.safetensors")


TRAININGS = {
    "loss/prediction": fit_world_model,
    "train/actor_loss": train_offline,
    "train/critic_loss": train_online,
    "train/loss": train_ppo,
}


@pytest.mark.parametrize("curve", TRAININGS)
def test_every_training_reports_its_curves_and_has_the_same_weights(
    curve, data, recorded, tmp_path
):
    train = TRAININGS[curve]
    alone = train(data, tmp_path / "alone")
    with track(
        "tensorboard",
        folder=tmp_path / "tracking",
        run="model/TwoRoom/0",
        directory=tmp_path / "m",
        settings={"model": {"width": 8}, "names": ["a"]},
    ):
        tracked = train(data, tmp_path / "m")
    assert all(torch.equal(alone[name], tracked[name]) for name in alone)
    rows = recorded.runs["model/TwoRoom/0"]
    assert [step for values, step in rows if curve in values]
    assert rows[-1] == ({"finished": 1.0}, -1)
    assert recorded.settings["model/TwoRoom/0"] == {"model.width": 8, "names": "['a']"}


def test_without_a_tracker_and_after_the_context_nothing_is_reported(recorded, tmp_path):
    common = {"folder": tmp_path / "tracking", "run": "r", "directory": tmp_path}
    with track("none", **common):
        TrackedRun.start(tmp_path).log({"loss": 1.0}, 1)
    with track("tensorboard", **common):
        pass
    TrackedRun.start(tmp_path).log({"loss": 1.0}, 1)
    assert recorded.runs == {}
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_of_several_processes_reports(recorded, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with track("tensorboard", folder=tmp_path, run="r", directory=tmp_path):
        TrackedRun.start(tmp_path).log({"loss": 1.0}, 1)
    assert recorded.runs == {}


@pytest.mark.parametrize("method", ["start", "log", "finish"])
def test_a_tracker_that_fails_does_not_stop_the_training(
    method, data, recorded, tmp_path, monkeypatch, caplog
):
    def fail(*_, **__):
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(recorded, method, fail)
    with track("tensorboard", folder=tmp_path / "t", run="r", directory=tmp_path / "m"):
        fit_world_model(data, tmp_path / "m")
    assert caplog.text.count("the server is gone") == 1
    assert (tmp_path / "m" / "weights.safetensors").exists()


# -- the real trackers, without a network


def log_two_loops(name, folder):
    """Log an interrupted training with a second loop in a subfolder."""
    for first in (0, 2):
        with track(name, folder=folder, run="model/x", directory=folder / "m", settings={"a": 1}):
            for loop in ("", "predictor"):
                log = ScalarLog(folder / "m" / loop, first)
                for step in range(first, 4):
                    log.add({"loss/total": step / 10}, step)
                log.close()


def test_tensorboard_collects_all_runs_below_one_folder(tmp_path):
    log_two_loops("tensorboard", tmp_path)
    for run in ("model/x", "model/x/predictor"):
        events = EventAccumulator(str(tmp_path / "tensorboard" / run)).Reload()
        assert {event.step for event in events.Scalars("loss/total")} == {0, 1, 2, 3}


@pytest.mark.slow
def test_wandb_offline_keeps_the_runs_in_the_output_folder(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_two_loops("wandb", tmp_path)
    files = sorted(path.name for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 4
    assert len(set(files)) == 2  # a resumed training has the id of its own run


@pytest.mark.slow
def test_mlflow_writes_into_a_database_in_the_output_folder(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    log_two_loops("mlflow", tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        runs = dict(database.execute("select name, status from runs").fetchall())
        steps = database.execute("select distinct step from metrics").fetchall()
    assert runs == {"model/x": "FINISHED", "model/x/predictor": "FINISHED"}
    assert sorted(steps) == [(0,), (1,), (2,), (3,)]


@pytest.mark.slow
def test_trackio_writes_into_a_database_in_the_output_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    log_two_loops("trackio", tmp_path)
    with sqlite3.connect(next((tmp_path / "trackio").glob("*.db"))) as database:
        rows = database.execute("select distinct run_name, step from metrics").fetchall()
    assert {row for row in rows if row[1] is not None} >= {
        (run, step) for run in ("model/x", "model/x/predictor") for step in range(4)
    }


# -- configuration and wrong use


def test_tracker_leaves_stages_unchanged_and_reports_trainings_only(tmp_path):
    settings = ["suite=quick", f"output={tmp_path}"]
    plain = SuitePlan(compose_run(settings)).stages
    tracked = SuitePlan(compose_run([*settings, "tracker=tensorboard"])).stages
    assert list(plain) == list(tracked)
    for key, stage in tracked.items():
        assert (stage.directory, stage.config) == (plain[key].directory, plain[key].config)
        reports = "train_tracked" in str(stage.work)
        assert reports == (key.partition("/")[0] in ("model", "policy"))


@pytest.mark.parametrize("name", ["tensorbord", "", "comet_ml", None, 3])
def test_an_unknown_tracker_is_refused_with_the_allowed_ones(name):
    with pytest.raises(UnknownNameError, match=r"mlflow, none, tensorboard, trackio, wandb"):
        check_tracker(name)


@pytest.mark.parametrize("missing", ["mlflow", "wandb", "trackio", "accelerate"])
def test_a_missing_package_is_named_with_its_extra(missing, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    tracker = "tensorboard" if missing == "accelerate" else missing
    with pytest.raises(ModuleNotFoundError, match=rf"{missing}.*pip install 'jepabench\["):
        check_tracker(tracker)


COMMANDS = {
    "run": ["suite=smoke"],
    "sweep": ["suite=smoke"],
    "scaling": ["task=TwoRoom", "agent=random", "budgets=1000"],
    "tune": ["task=TwoRoom", "agent=gcbc"],
}


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize("tracker", ["tensorbord", "mlflow"])
def test_commands_refuse_a_tracker_before_they_write(verb, tracker, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mlflow" else find(name)
    )
    code = main([verb, *COMMANDS[verb], f"tracker={tracker}", f"output={tmp_path / 'out'}"])
    error = capsys.readouterr().err
    assert code in (1, 2)
    assert error.count("\n") == 1
    assert ("pip install" if tracker == "mlflow" else "tensorboard") in error
    assert not any((tmp_path / "out").rglob("dataset"))
    assert not any((tmp_path / "out").rglob("stage.json"))


@pytest.mark.parametrize("tracker", ["tensorbord", "mlflow"])
def test_train_refuses_a_tracker_before_it_writes(tracker, data, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mlflow" else find(name)
    )
    folders = [str(data / "train"), str(data / "held-out"), str(tmp_path / "model")]
    assert main(["train", *folders, f"tracker={tracker}"]) in (1, 2)
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_train_reports_to_the_tracker_beside_the_model(data, tmp_path):
    folders = [str(data / "train"), str(data / "held-out"), str(tmp_path / "model")]
    settings = ["training.num_steps=20", "tracker=tensorboard", "training.on_collapse=warn"]
    assert main(["train", *folders, "--world-model", "state-twin", *settings]) == 0
    assert any((tmp_path / "tracking" / "tensorboard" / "model").glob("events*"))


def test_the_python_interface_takes_a_tracker(tmp_path):
    with pytest.raises(UnknownNameError, match="tensorboard"):
        jepabench.evaluate("random", suite="smoke", tracker="tensorbord", output=tmp_path)
