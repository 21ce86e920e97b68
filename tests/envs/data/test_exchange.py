"""Test imports and exports: round trips, and datasets that other libraries wrote themselves."""

import dataclasses
import sys
from pathlib import Path

import cv2
import gymnasium
import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.data.collect import collect
from jepabench.envs.data.exchange.formats import FORMATS, export_dataset, import_dataset
from jepabench.envs.data.exchange.images import decode_image
from jepabench.envs.data.manifest import DatasetError
from jepabench.envs.errors import UnknownNameError
from jepabench.envs.registry import get_task, register
from jepabench.main import main

FILES = Path(__file__).parent / "exchange"
NAME, JOINED, HELD = "tiny/Point-v0", "tiny/Joined-v0", "tiny/Held-v0"
POSITION = {"observation": "pos_agent", "achieved_goal": "pos_agent"}
NEEDS = {"lance": "lance", "hdf5": "h5py", "minari": "minari"}
TARGETS = {"lerobot": "exported", "hdf5": "d.h5", "lance": "d.lance", "minari": "tiny/point-v0"}


@pytest.fixture(scope="module", autouse=True)
def tasks():
    tiny = get_task(f"tiny_world:{NAME}")
    register(dataclasses.replace(tiny, id=JOINED, action_block=2, actions_per_block=2))
    register(dataclasses.replace(tiny, id=HELD, action_block=2, actions_per_block=1))
    yield
    for name in (NAME, JOINED, HELD):
        del envs.registry._TASKS[name], gymnasium.registry[name]
    del sys.modules["tiny_world"]


@pytest.fixture(autouse=True)
def minari_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


@pytest.fixture(scope="module")
def dataset(tasks, tmp_path_factory):
    path = tmp_path_factory.mktemp("exchange") / "data"
    return collect(
        NAME, path, num_episodes=3, num_steps=4, pixels=32, num_workers=1, progress=False
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_round_trip_keeps_every_byte(name, dataset, tmp_path):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    target = TARGETS[name] if name == "minari" else str(tmp_path / TARGETS[name])
    export_dataset(dataset, target, format=name)
    again = import_dataset(target, tmp_path / "again")
    assert again.manifest == dataset.manifest


def test_a_round_trip_through_video_changes_colours_little(dataset, tmp_path):
    pytest.importorskip("av")
    export_dataset(dataset, str(tmp_path / "exported"), format="lerobot", video=True)
    again = import_dataset(str(tmp_path / "exported"), tmp_path / "again")
    for name in set(dataset.fields) - {"pixels"}:
        np.testing.assert_array_equal(again.field(name), dataset.field(name))
    difference = np.abs(again.field("pixels").astype(int) - dataset.field("pixels"))
    assert again.field("pixels").shape == dataset.field("pixels").shape
    assert difference.mean() < 2


@pytest.mark.parametrize("name", ["lerobot_image", "lerobot_video"])
def test_a_dataset_that_lerobot_wrote_is_read(name, tmp_path):
    if name == "lerobot_video":
        pytest.importorskip("av")
    dataset = import_dataset(
        str(FILES / name),
        tmp_path / "data",
        task_id=JOINED,
        columns={"achieved_goal": "observation.state"},
    )
    with np.load(FILES / "lerobot.npz") as stored:
        written = dict(stored)
    # Nine and thirteen control steps, of which the last has no next frame: blocks of two.
    assert dataset.lengths.tolist() == [4, 6]
    for episode, first in zip(dataset, (0, 9), strict=True):
        steps = 2 * len(episode)
        frames = slice(first, first + steps + 1, 2)
        actions = written["action"][first : first + steps].reshape(len(episode), 4)
        np.testing.assert_array_equal(episode.actions, actions)
        np.testing.assert_array_equal(episode.observations["observation"], written["state"][frames])
        goal = np.repeat(written["state"][frames][-1:], len(episode) + 1, axis=0)
        np.testing.assert_array_equal(episode.observations["desired_goal"], goal)
        pixels = episode.observations["pixels"].astype(int)
        difference = np.abs(pixels - written["pixels"][frames])
        assert difference.max() == 0 if name == "lerobot_image" else difference.mean() < 3
        assert (episode.seed, episode.truncated, episode.terminated) == (-1, True, False)


@pytest.mark.parametrize("name", ["pusht.h5", "pusht.lance"])
def test_a_dataset_that_stable_worldmodel_wrote_is_read(name, tmp_path):
    pytest.importorskip("h5py" if name.endswith("h5") else "lance")
    dataset = import_dataset(
        str(FILES / name), tmp_path / "data", task_id=JOINED, columns=POSITION, pixels=32
    )
    with np.load(FILES / "pusht.npz") as stored:
        written = dict(stored)
    assert dataset.lengths.tolist() == [2, 2]
    for episode, first in zip(dataset, written["ep_offset"], strict=True):
        frames = slice(first, first + 5, 2)
        actions = written["action"][first : first + 4].reshape(2, 4)
        np.testing.assert_array_equal(episode.actions, actions)
        exact = name.endswith("h5")  # their Lance tables hold float32 and JPEG
        positions = written["pos_agent"][frames].astype(np.float64 if exact else np.float32)
        np.testing.assert_array_equal(episode.observations["observation"], positions)
        wanted = np.stack(
            [
                cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA)
                for frame in written["pixels"][frames]
            ]
        ).astype(int)
        difference = np.abs(episode.observations["pixels"] - wanted)
        assert difference.max() == 0 if exact else difference.mean() < 8


def test_a_dataset_that_minari_recorded_is_read(tmp_path, monkeypatch):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(FILES / "minari"))
    dataset = import_dataset("other/point-v0", tmp_path / "data", task_id=JOINED)
    with np.load(FILES / "minari.npz") as stored:
        written = dict(stored)
    assert dataset.lengths.tolist() == [3, 3]  # seven control steps each, in blocks of two
    for number, episode in enumerate(dataset):
        np.testing.assert_array_equal(
            episode.observations["observation"], written["position"][number, :7:2]
        )
        np.testing.assert_array_equal(episode.actions, written["action"][number, :6].reshape(3, 4))
        np.testing.assert_array_equal(episode.rewards, written["reward"][number, 1:6:2])
        assert (episode.seed, episode.terminated, episode.truncated) == (number, False, True)


def test_the_rate_must_be_given_where_the_data_do_not_show_it(tmp_path):
    source, columns = str(FILES / "lerobot_image"), {"achieved_goal": "observation.state"}
    with pytest.raises(DatasetError, match="rate=control or rate=model"):
        import_dataset(source, tmp_path / "data", task_id=HELD, columns=columns)
    with pytest.raises(DatasetError, match="holds each action for 2 control steps"):
        import_dataset(source, tmp_path / "data", task_id=HELD, columns=columns, rate="control")
    model = import_dataset(source, tmp_path / "data", task_id=HELD, columns=columns, rate="model")
    assert model.lengths.tolist() == [8, 12]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "does not state its task"),
        ({"task_id": JOINED}, "no column for 'achieved_goal'"),
        ({"task_id": "tiny/Piont-v0"}, "Did you mean 'tiny/Point-v0'"),
        ({"task_id": JOINED, "columns": {"achieved_gaol": "x"}}, "Did you mean 'achieved_goal'"),
        ({"task_id": JOINED, "columns": {"action": "actoin"}}, "Did you mean 'action'"),
        ({"task_id": JOINED, "columns": {"achieved_goal": "next.done"}}, "has 1 numbers"),
        ({"format": "lerbot"}, "Did you mean 'lerobot'"),
        ({"format": "hdf5"}, "cannot be read as HDF5"),
    ],
)
def test_wrong_use_is_refused_and_writes_nothing(arguments, message, tmp_path):
    with pytest.raises((DatasetError, UnknownNameError), match=message):
        import_dataset(str(FILES / "lerobot_image"), tmp_path / "data", **arguments)
    assert not any(tmp_path.iterdir())


def test_damaged_files_are_refused(dataset, tmp_path):
    export_dataset(dataset, str(tmp_path / "exported"), format="lerobot")
    table = tmp_path / "exported" / "data" / "chunk-000" / "file-000.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="Episode 0"):
        import_dataset(str(tmp_path / "exported"), tmp_path / "again")
    info = tmp_path / "exported" / "meta" / "info.json"
    text = info.read_text(encoding="utf-8").replace("v3.0", "v2.1")
    info.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"version 'v2\.1'"):
        import_dataset(str(tmp_path / "exported"), tmp_path / "again")
    text = text.replace("v2.1", "v3.0").replace("next.reward", "../reward")
    info.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match="no slashes"):
        import_dataset(str(tmp_path / "exported"), tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["hdf5", "lerobot"])
def test_a_failed_export_leaves_no_files(name, dataset, tmp_path, monkeypatch):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.setattr(type(dataset), "__getitem__", lambda self, index: {}[index])
    with pytest.raises(KeyError):
        export_dataset(dataset, str(tmp_path / TARGETS[name]), format=name)
    assert not any(tmp_path.iterdir())


def test_an_existing_target_is_kept(dataset, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(DatasetError, match="exists already"):
        export_dataset(dataset, str(tmp_path / "taken"), format="lerobot")
    with pytest.raises(DatasetError, match="has no videos"):
        export_dataset(dataset, str(tmp_path / "d.h5"), format="hdf5", video=True)
    with pytest.raises(DatasetError, match="Name the format"):
        export_dataset(dataset, str(tmp_path / "d"))
    with pytest.raises(UnknownNameError, match="Known: hdf5"):
        export_dataset(dataset, str(tmp_path / "d"), format="rlds")


@pytest.mark.parametrize(
    ("package", "name", "extra"), [("h5py", "hdf5", "hdf5"), ("lance", "lance", "lance")]
)
def test_a_missing_package_is_named(package, name, extra, dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"jepabench\[{extra}\]"):
        export_dataset(dataset, str(tmp_path / TARGETS[name]), format=name)
    assert not any(tmp_path.iterdir())


def test_a_file_that_is_not_an_image_is_refused():
    for data in (b"", b"no image"):
        with pytest.raises(DatasetError, match="cannot be decoded"):
            decode_image(data)


def test_the_commands_export_and_import(dataset, tmp_path, capsys):
    exported, again = str(tmp_path / "exported"), str(tmp_path / "again")
    assert main(["export", str(dataset.path), exported, "--format", "lerobot"]) == 0
    assert main(["import", exported, again]) == 0
    assert dataset.manifest.fingerprint in capsys.readouterr().out
    assert main(["import", str(tmp_path / "nothing"), str(tmp_path / "x")]) == 2
    assert "There is no dataset at" in capsys.readouterr().err
