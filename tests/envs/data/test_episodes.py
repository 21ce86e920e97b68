"""Test that invalid episodes and datasets are refused and that windows stay within episodes."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from small_episodes import PROVENANCE, make_episode

from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.manifest import DatasetError, fingerprint
from jepabench.envs.data.writing import write_dataset


def change_byte(file, position=-1):
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_an_episode_prints_shapes_and_not_arrays():
    text = repr(make_episode(4))
    assert "4 transitions" in text
    assert "pixels uint8[5, 16, 16, 3]" in text
    assert len(text) < 300


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": np.zeros((0, 3), np.float32)}, "at least one transition"),
        ({"actions": np.zeros((5, 3), np.float32)}, "shape"),
        ({"actions": np.zeros((4, 3))}, "float32"),
        ({"actions": np.full((4, 3), np.nan, np.float32)}, "not finite"),
        ({"rewards": np.zeros(5, np.float32)}, "rewards"),
        ({"rewards": np.full(4, -np.inf, np.float32)}, "not finite"),
        ({"violations": np.zeros(4, np.uint8)}, "violations"),
        ({"observations": {}}, "'observation' is missing"),
    ],
)
def test_an_episode_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(DatasetError, match=message):
        make_episode(4, **changes)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("observation", np.zeros((4, 2))),
        ("achieved_goal", np.zeros((5, 2), np.int64)),
        ("desired_goal", np.full((5, 2), np.inf)),
        ("pixels", np.zeros((5, 16, 16, 3))),
        ("pixels", np.zeros((5, 16, 12, 3), np.uint8)),
        ("pixels", np.zeros((5, 16), np.uint8)),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(name, values):
    observations = dict(make_episode(4).observations) | {name: values}
    with pytest.raises(DatasetError, match=name):
        make_episode(4, observations=observations)


def test_an_unknown_observation_is_refused_with_the_nearest_name():
    observations = dict(make_episode(4).observations) | {"pixel": np.zeros((5, 2))}
    with pytest.raises(KeyError, match="Did you mean 'pixels'"):
        make_episode(4, observations=observations)


def test_a_dataset_returns_the_written_episodes(dataset, episodes):
    assert len(dataset) == 4
    for written, read in zip(episodes, dataset, strict=True):
        for name, values in written.observations.items():
            np.testing.assert_array_equal(read.observations[name], values)
            assert read.observations[name].dtype == values.dtype
        for name in ("actions", "rewards", "violations"):
            np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        assert (read.seed, read.task_id) == (written.seed, written.task_id)
        assert (read.terminated, read.truncated) == (False, True)
    assert len(dataset[-1]) == 3
    with pytest.raises(IndexError, match="no episode 4"):
        dataset[4]


def test_fields_are_aligned_by_frame_without_action_at_the_end(dataset, episodes):
    assert dataset.starts.tolist() == [0, 6, 8, 17]
    assert dataset.manifest.num_frames == 21
    assert dataset.manifest.num_transitions == 17
    assert isinstance(dataset.field("pixels"), np.memmap)
    assert {len(dataset.field(name)) for name in dataset.fields} == {21}
    for name in ("action", "reward", "violation"):
        assert not dataset.field(name)[dataset.starts + dataset.lengths].any()
    np.testing.assert_array_equal(dataset.field("action")[8:16], episodes[2].actions)


def test_fields_are_read_only(dataset):
    with pytest.raises(ValueError, match="read-only"):
        dataset.field("reward")[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        dataset[0].actions[0] = 1.0


def test_an_unknown_field_is_refused_with_the_nearest_name(dataset):
    with pytest.raises(KeyError, match="Did you mean 'pixels'"):
        dataset.field("pixel")
    with pytest.raises(KeyError, match="Did you mean 'action'"):
        dataset.gather("actions", [0], 1)


def test_the_manifest_survives_the_disk(dataset):
    again = EpisodeDataset.open(dataset.path, verify=True)
    assert again.manifest == dataset.manifest
    assert again.manifest.provenance == PROVENANCE
    assert again.manifest.pixels == 16
    assert (
        json.loads((dataset.path / "manifest.json").read_text(encoding="utf-8"))["num_episodes"]
        == 4
    )


def test_pickling_takes_the_path_and_not_the_data(dataset):
    packed = pickle.dumps(dataset)
    assert len(packed) < 500
    np.testing.assert_array_equal(pickle.loads(packed).field("pixels"), dataset.field("pixels"))


def test_the_same_episodes_have_the_same_fingerprint(tmp_path, dataset, episodes):
    again = write_dataset(
        tmp_path / "again", episodes, provenance=replace(PROVENANCE, behaviour="another")
    )
    assert again.manifest.fingerprint == dataset.manifest.fingerprint
    other = write_dataset(tmp_path / "other", episodes[::-1], provenance=PROVENANCE)
    assert other.manifest.fingerprint != dataset.manifest.fingerprint


def test_the_fingerprint_depends_on_shapes_and_types():
    zeros = np.zeros(8, np.uint8)
    variants = [
        {"a": zeros},
        {"b": zeros},
        {"a": zeros.reshape(2, 4)},
        {"a": zeros.view(np.bool_)},
        {"a": zeros[:4], "b": zeros[4:]},
    ]
    assert len({fingerprint(variant) for variant in variants}) == len(variants)


def test_a_dataset_is_never_overwritten(dataset, episodes):
    with pytest.raises(DatasetError, match="exists already"):
        write_dataset(dataset.path, episodes, provenance=PROVENANCE)


def test_a_failed_writer_leaves_no_files(tmp_path, episodes):
    def failing():
        yield from episodes
        raise RuntimeError("the source went away")

    with pytest.raises(RuntimeError, match="went away"):
        write_dataset(tmp_path / "data", failing(), provenance=PROVENANCE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (make_episode(3, pixels=None), "Episode 1"),
        (make_episode(3, pixels=32), "Episode 1"),
        (make_episode(3, task_id="tiny/Other-v0"), "Episode 1"),
    ],
)
def test_episodes_that_differ_are_refused(tmp_path, odd, message):
    with pytest.raises(DatasetError, match=message):
        write_dataset(tmp_path / "data", [make_episode(3), odd], provenance=PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_no_episodes_and_a_wrong_task_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="at least one episode"):
        write_dataset(tmp_path / "data", [], provenance=PROVENANCE)
    with pytest.raises(DatasetError, match="provenance states 'other'"):
        write_dataset(
            tmp_path / "data", [make_episode(1)], provenance=replace(PROVENANCE, task_id="other")
        )


def test_a_missing_dataset_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no dataset at"):
        EpisodeDataset.open(tmp_path / "nothing")


def test_a_missing_manifest_is_refused(dataset):
    (dataset.path / "manifest.json").unlink()
    with pytest.raises(DatasetError, match=r"no manifest\.json"):
        EpisodeDataset.open(dataset.path)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "pixels": 3, "fields": {}, "strata": []}'],
)
def test_a_manifest_that_cannot_be_read_is_refused(dataset, content):
    (dataset.path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match="not a valid manifest"):
        EpisodeDataset.open(dataset.path)


def test_another_schema_version_is_refused(dataset):
    file = dataset.path / "manifest.json"
    file.write_text(
        json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"schema": 99}), encoding="utf-8"
    )
    with pytest.raises(DatasetError, match="schema version 99"):
        EpisodeDataset.open(dataset.path)


@pytest.mark.parametrize("num_bytes", [0, 40, -1])
@pytest.mark.parametrize("name", ["pixels", "action", "lengths"])
def test_truncated_file_is_refused(dataset, name, num_bytes):
    file = dataset.path / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:num_bytes])
    with pytest.raises(DatasetError, match=name):
        EpisodeDataset.open(dataset.path)


def test_a_file_that_is_missing_too_long_or_of_another_dataset_is_refused(dataset):
    file = dataset.path / "reward.npy"
    content = file.read_bytes()
    file.write_bytes(content + b"\0")
    with pytest.raises(DatasetError, match="reward"):
        EpisodeDataset.open(dataset.path)
    np.save(file, np.zeros(20, np.float32))
    with pytest.raises(DatasetError, match="reward"):
        EpisodeDataset.open(dataset.path)
    file.unlink()
    with pytest.raises(DatasetError, match=r"reward\.npy is missing"):
        EpisodeDataset.open(dataset.path)


def test_lengths_that_do_not_add_up_are_refused(dataset):
    np.save(dataset.path / "lengths.npy", np.array([5, 1, 8, 4]))
    with pytest.raises(DatasetError, match="do not add up"):
        EpisodeDataset.open(dataset.path)


@pytest.mark.parametrize("name", ["pixels", "observation", "violation", "seeds"])
def test_a_changed_byte_is_found_when_asked_for(dataset, name):
    change_byte(dataset.path / f"{name}.npy")
    EpisodeDataset.open(dataset.path)
    with pytest.raises(DatasetError, match="was changed after it was written"):
        EpisodeDataset.open(dataset.path, verify=True)
