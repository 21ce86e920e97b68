"""Test that exports to Minari and imports from it are lossless."""

import sys
import warnings

import gymnasium
import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.data.collect import collect
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.exchange.minari import export_minari, import_minari
from jepabench.envs.data.manifest import DatasetError, Provenance
from jepabench.envs.registry import get_task

minari = pytest.importorskip("minari")

NAME = "tiny/Point-v0"
ID = "tiny/point-random-v0"


@pytest.fixture(autouse=True)
def minari_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    get_task(f"tiny_world:{NAME}")
    path = tmp_path_factory.mktemp("minari") / "data"
    # 32 is the size from which on Minari takes arrays for pictures, which it likes to store as
    # JPEG.
    yield collect(
        NAME,
        path,
        num_episodes=5,
        num_steps=4,
        pixels=32,
        first_index=3,
        num_workers=1,
        progress=False,
    )
    del envs.registry._TASKS[NAME], gymnasium.registry[NAME], sys.modules["tiny_world"]


def test_a_round_trip_keeps_every_byte_and_the_provenance(dataset, tmp_path):
    export_minari(dataset, ID)
    again = import_minari(ID, tmp_path / "again")
    assert again.manifest == dataset.manifest
    assert EpisodeDataset.open(again.path, verify=True).manifest.episode_spec(
        2
    ) == dataset.manifest.episode_spec(2)
    for name in dataset.fields:
        np.testing.assert_array_equal(again.field(name), dataset.field(name))


def test_minari_reads_what_was_exported(dataset):
    export_minari(dataset, ID, author="A. Author")
    read = minari.load_dataset(ID)
    assert (read.total_episodes, read.total_steps) == (5, 20)
    assert read.action_space == gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    for theirs, ours in zip(read.iterate_episodes(), dataset, strict=True):
        for name, values in ours.observations.items():
            np.testing.assert_array_equal(theirs.observations[name], values)
            assert theirs.observations[name].dtype == values.dtype
            assert all(frame in read.observation_space[name] for frame in values)
        np.testing.assert_array_equal(theirs.actions, ours.actions)
        assert all(action in read.action_space for action in theirs.actions)
        np.testing.assert_array_equal(theirs.rewards, ours.rewards)
        assert theirs.truncations.tolist() == [False, False, False, True]
        assert not theirs.terminations.any()
        np.testing.assert_array_equal(theirs.infos["violation"][1:], ours.violations)
    seeds = [metadata["seed"] for metadata in read.storage.get_episode_metadata(range(5))]
    assert seeds == [episode.seed for episode in dataset]
    assert read.storage.metadata["author"] == {"A. Author"}


def test_an_existing_minari_dataset_is_not_overwritten(dataset):
    export_minari(dataset, ID)
    with pytest.raises(DatasetError, match="already"):
        export_minari(dataset, ID)


def test_a_failed_export_leaves_no_files(dataset, minari_folder, monkeypatch):
    monkeypatch.setattr(EpisodeDataset, "__getitem__", lambda self, index: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_minari(dataset, ID)
    assert not (minari_folder / ID).exists()


@pytest.mark.parametrize("bad", ["t/point-v0", "point", "tiny/point", "../point-v0", ""])
def test_an_id_that_minari_rejects_is_refused(dataset, tmp_path, bad):
    with pytest.raises(DatasetError, match="is not a valid Minari id"):
        export_minari(dataset, bad)
    with pytest.raises(DatasetError, match="is not a valid Minari id"):
        import_minari(bad, tmp_path / "data")


def test_an_unknown_minari_dataset_is_refused_with_the_nearest_name(dataset, tmp_path):
    export_minari(dataset, ID)
    with pytest.raises(DatasetError, match=f"Did you mean '{ID}'"):
        import_minari("tiny/point-randm-v0", tmp_path / "data")


def make_foreign_dataset(observation_space, observations, seed=None):
    """A dataset as others make them: no violations, float64 rewards, and often no seed."""
    buffer = minari.data_collector.EpisodeBuffer(
        seed=seed,
        observations=observations,
        actions=np.zeros((3, 2)),
        rewards=[0.0, 1.0, 0.0],
        terminations=[False, False, True],
        truncations=[False] * 3,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        minari.create_dataset_from_buffers(
            "other/goal-v0",
            [buffer],
            observation_space=observation_space,
            action_space=gymnasium.spaces.Box(-1, 1, (2,)),
        )


def test_an_imported_dataset_needs_a_provenance(tmp_path):
    box = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    names = ("observation", "achieved_goal", "desired_goal")
    make_foreign_dataset(
        gymnasium.spaces.Dict(dict.fromkeys(names, box)), {name: np.zeros((4, 2)) for name in names}
    )
    with pytest.raises(DatasetError, match="Pass provenance"):
        import_minari("other/goal-v0", tmp_path / "data")
    provenance = Provenance(task_id="other/Goal-v0", split="train", behaviour="theirs")
    dataset = import_minari("other/goal-v0", tmp_path / "data", provenance=provenance)
    assert dataset.manifest.provenance == provenance
    assert dataset[0].rewards.tolist() == [0.0, 1.0, 0.0]
    assert (dataset[0].terminated, dataset[0].truncated, dataset[0].seed) == (True, False, -1)
    assert not dataset[0].violations.any()


def test_seeds_of_64_bits_are_imported(tmp_path):
    """Minari records such a seed if an environment was reset without one."""
    box = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    names = ("observation", "achieved_goal", "desired_goal")
    make_foreign_dataset(
        gymnasium.spaces.Dict(dict.fromkeys(names, box)),
        {name: np.zeros((4, 2)) for name in names},
        seed=2**64 - 5,
    )
    provenance = Provenance(task_id="other/Goal-v0", split="train", behaviour="theirs")
    dataset = import_minari("other/goal-v0", tmp_path / "data", provenance=provenance)
    assert dataset[0].seed == 2**64 - 5


def test_observations_without_goals_are_refused(tmp_path):
    make_foreign_dataset(gymnasium.spaces.Box(-1, 1, (2,), np.float64), np.zeros((4, 2)))
    provenance = Provenance(task_id="other/Goal-v0", split="train", behaviour="theirs")
    with pytest.raises(DatasetError, match="no column for 'achieved_goal'"):
        import_minari("other/goal-v0", tmp_path / "data", provenance=provenance)
    assert not (tmp_path / "data").exists()


def test_without_minari_the_error_names_the_extra(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ImportError, match=r"jepabench\[minari\]"):
        export_minari(dataset, ID)
    with pytest.raises(ImportError, match=r"jepabench\[minari\]"):
        import_minari(ID, tmp_path / "data")
