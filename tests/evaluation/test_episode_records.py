import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from point_world import POINT, Greedy, RandomStreams
from pyarrow import parquet

from jepabench.envs import episode_specs
from jepabench.evaluation.records import (
    COLUMNS,
    RecordError,
    frame_records,
    read_records,
    records_frame,
    write_records,
)
from jepabench.evaluation.rollout import evaluate_episodes, load_evaluation, save_evaluation


@pytest.fixture(scope="module")
def evaluation():
    return evaluate_episodes(
        Greedy(), episode_specs(POINT.id, "test", 2), agent_name="greedy", training_seed=3
    )


class Dreamer(RandomStreams):
    def imagined(self, episode):
        return np.array([0, 5, 10]), np.arange(3 * 2 * 4 * 4 * 3, dtype=np.uint8).reshape(
            3, 2, 4, 4, 3
        )


def test_records_survive_the_file_exactly(tmp_path, evaluation):
    write_records(tmp_path / "episodes.parquet", evaluation.records)
    frame = read_records(tmp_path / "episodes.parquet")
    assert tuple(frame.columns) == COLUMNS
    assert frame.equals(records_frame(evaluation.records))
    assert frame_records(frame) == evaluation.records
    assert frame["success_held"].dtype == bool and frame["index"].dtype == np.int64


def test_writing_leaves_only_the_file_and_replaces_an_old_one(tmp_path, evaluation):
    path = tmp_path / "episodes.parquet"
    path.write_bytes(b"old")
    write_records(path, evaluation.records[:1])
    assert len(read_records(path)) == 1
    assert [item.name for item in tmp_path.iterdir()] == ["episodes.parquet"]


def test_records_with_a_wrong_type_leave_the_old_file_alone(tmp_path, evaluation):
    path = tmp_path / "episodes.parquet"
    write_records(path, evaluation.records)
    before = path.read_bytes()
    for change in (
        {"steps": "many"},
        {"steps": None},
        {"distance_final": "near"},
        {"agent": 3},
        {"steps": 1.5},
        {"steps": True},
    ):
        with pytest.raises(RecordError, match="must be of type"):
            write_records(path, [dataclasses.replace(evaluation.records[0], **change)])
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["episodes.parquet"]


def test_no_records_and_repeated_episodes_are_refused(tmp_path, evaluation):
    with pytest.raises(RecordError, match="no records"):
        write_records(tmp_path / "a.parquet", [])
    with pytest.raises(
        RecordError,
        match=r"2 episodes are duplicated.*greedy\|3\|tests/PointWorld-v1\|test\|near\|0",
    ):
        write_records(
            tmp_path / "a.parquet",
            [*evaluation.records, *evaluation.records[:2]],
        )
    assert not (tmp_path / "a.parquet").exists()


def test_a_nan_distance_is_refused(tmp_path, evaluation):
    with pytest.raises(RecordError, match="'distance_final' lacks 1 values or holds NaN"):
        write_records(
            tmp_path / "a.parquet",
            [dataclasses.replace(evaluation.records[0], distance_final=float("nan"))],
        )


def rewritten(path, evaluation, change):
    frame = change(records_frame(evaluation.records))
    parquet.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="success_held"), r"missing columns \['success_held'\]"),
        (lambda frame: frame.assign(bonus=1.0), r"unknown columns \['bonus'\]"),
        (
            lambda frame: frame.assign(steps=frame["steps"].astype(float)),
            "'steps' is double, must be int64",
        ),
        (lambda frame: frame.assign(success_ever=1), "'success_ever' is int64, must be bool"),
        (
            lambda frame: frame.assign(distance_min=pd.array([None, 1.0, 1.0, 1.0], "Float64")),
            "'distance_min' lacks 1 values",
        ),
        (lambda frame: frame[:0], "no records"),
        (lambda frame: pd.concat([frame, frame[:1]]), "1 episodes are duplicated"),
    ],
)
def test_files_that_are_not_records_are_refused(tmp_path, evaluation, change, message):
    path = rewritten(tmp_path / "a.parquet", evaluation, change)
    with pytest.raises(RecordError, match=message):
        read_records(path)


def test_missing_damaged_and_foreign_files_are_refused(tmp_path, evaluation):
    path = tmp_path / "a.parquet"
    with pytest.raises(RecordError, match=r"a\.parquet"):
        read_records(path)
    write_records(path, evaluation.records)
    content = path.read_bytes()
    for damaged in (b"", b"hello", content[: len(content) // 2], content[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(RecordError, match="Cannot read records"):
            read_records(path)


@pytest.mark.parametrize("agent", [Greedy, Dreamer])
def test_evaluation_survives_its_directory_exactly(tmp_path, agent):
    saved = evaluate_episodes(
        agent(), episode_specs(POINT.id, "test", 2), agent_name="a", batch_size=3
    )
    save_evaluation(tmp_path / "new" / "folder", saved)
    loaded = load_evaluation(tmp_path / "new" / "folder")
    assert loaded.records == saved.records
    assert (
        loaded.actions.keys() == saved.actions.keys()
        and loaded.imagined.keys() == saved.imagined.keys()
    )
    for name, actions in saved.actions.items():
        np.testing.assert_array_equal(loaded.actions[name], actions)
        assert loaded.actions[name].dtype == np.float32
    for name, imagination in saved.imagined.items():
        np.testing.assert_array_equal(loaded.imagined[name].steps, imagination.steps)
        np.testing.assert_array_equal(loaded.imagined[name].frames, imagination.frames)
    assert (tmp_path / "new" / "folder" / "imagined.npz").exists() == (agent is Dreamer)


def test_saving_again_removes_old_imagination(tmp_path):
    specs = episode_specs(POINT.id, "test", 1)
    save_evaluation(tmp_path, evaluate_episodes(Dreamer(), specs, agent_name="a"))
    save_evaluation(tmp_path, evaluate_episodes(RandomStreams(), specs, agent_name="a"))
    assert load_evaluation(tmp_path).imagined == {}


def test_traces_that_disagree_with_the_records_are_refused(tmp_path, evaluation):
    save_evaluation(tmp_path, dataclasses.replace(evaluation, records=evaluation.records[1:]))
    with pytest.raises(RecordError, match="disagree about near/0"):
        load_evaluation(tmp_path)
    save_evaluation(tmp_path, evaluation)
    np.savez(
        tmp_path / "actions.npz",
        **{name: actions[:-1] for name, actions in evaluation.actions.items()},
    )
    with pytest.raises(RecordError, match="disagree"):
        load_evaluation(tmp_path)


def test_arrays_with_pickles_or_damage_are_refused(tmp_path, evaluation):
    save_evaluation(tmp_path, evaluation)
    np.savez(tmp_path / "actions.npz", **{"near/0": np.array([{"evil": 1}], dtype=object)})
    with pytest.raises(RecordError, match=r"actions\.npz"):
        load_evaluation(tmp_path)
    (tmp_path / "actions.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(RecordError, match=r"actions\.npz"):
        load_evaluation(tmp_path)
    (tmp_path / "actions.npz").unlink()
    with pytest.raises(RecordError, match=r"actions\.npz"):
        load_evaluation(tmp_path)


def test_imagination_without_frames_is_refused(tmp_path, evaluation):
    save_evaluation(tmp_path, evaluation)
    np.savez(tmp_path / "imagined.npz", **{"near/0/steps": np.zeros(1, np.int64)})
    with pytest.raises(RecordError, match="near/0/frames"):
        load_evaluation(tmp_path)
