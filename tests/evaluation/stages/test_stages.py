import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_processes import CONFIG, FINISHED, ROOT, WORKER, never, start, write_result

from jepabench.envs.data.files import atomic_write
from jepabench.evaluation.stages.stage import (
    StageError,
    is_done,
    run_stage,
    stage_id,
    stage_state,
)


def test_stage_id_ignores_order_containers_and_cosmetics():
    first = stage_id({"a": 1, "b": {"c": [1, 2], "num_workers": 4}, "progress": True})
    assert first == stage_id({"b": {"c": (1, 2)}, "a": 1})
    assert len(first) == 16 and int(first, 16) >= 0
    assert first != stage_id({"b": {"c": [2, 1]}, "a": 1})


def test_stage_id_is_the_same_in_every_process():
    code = (
        "from jepabench.evaluation.stages.stage import stage_id; "
        "print(stage_id({'b': 1.5, 'a': ['x', None, True], 'c': {'d': 1e-4}}))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert outputs == {stage_id({"a": ["x", None, True], "b": 1.5, "c": {"d": 1e-4}})}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_stage_id_survives_storage_as_json(config):
    assert stage_id(json.loads(json.dumps(config))) == stage_id(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": {"b": [0, math.nan]}}, r"a\.b\[1\] is nan"),
        ({"a": math.inf}, "a is inf"),
        ({"a": object()}, "a is <object"),
        ({"a": {1, 2}}, "a is {1, 2}"),
        ({"a": np.zeros(2)}, "ndarray"),
        ({"a": {3: "x"}}, "Keys of a configuration must be strings, got 3 in a"),
    ],
)
def test_values_that_json_cannot_hold_are_refused_before_any_work(tmp_path, config, message):
    with pytest.raises(StageError, match=message):
        run_stage(tmp_path / "stage", config, never)
    assert not (tmp_path / "stage").exists()


def test_stage_runs_only_once(tmp_path):
    directory = tmp_path / "a" / "stage"
    assert not is_done(directory, CONFIG)
    assert run_stage(directory, CONFIG, write_result)
    assert is_done(directory, CONFIG)
    assert not run_stage(directory, CONFIG, never)
    assert not run_stage(directory, {**CONFIG, "progress": False, "num_workers": 8}, never)


def test_the_done_marker_describes_the_stage(tmp_path):
    run_stage(tmp_path, CONFIG, write_result)
    done = json.loads((tmp_path / "done.json").read_text(encoding="utf-8"))
    assert done["files"] == {"log.txt": 4, "model/weights.bin": 4}
    assert done["config"] == CONFIG and done["hash"] == stage_id(CONFIG)
    assert done["versions"]["numpy"] == np.__version__
    assert done["seconds"] >= 0 and done["finished"].endswith("+00:00")
    assert {path.name for path in tmp_path.iterdir()} == FINISHED


def test_work_is_written_to_temporary_names(tmp_path):
    def work(directory):
        write_result(directory)
        assert directory != tmp_path
        assert not (tmp_path / "log.txt").exists() and not (tmp_path / "done.json").exists()

    run_stage(tmp_path, CONFIG, work)
    assert (tmp_path / "log.txt").exists()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_folder_without_any_result_is_free_for_another_configuration(tmp_path, error):
    def crash(directory):
        raise error

    with pytest.raises(error):
        run_stage(tmp_path, CONFIG, crash)
    other = {**CONFIG, "seed": 1}
    assert stage_state(tmp_path, other).name == "missing"
    assert run_stage(tmp_path, other, write_result)
    assert stage_state(tmp_path, other).name == "done"


def test_a_directory_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious", encoding="utf-8")
    with pytest.raises(StageError, match=r"not empty \(thesis\.tex\)"):
        run_stage(tmp_path, CONFIG, never)
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "precious"


def test_traces_of_a_deleted_stage_do_not_block_its_folder(tmp_path):
    # A process that outlived the folder wrote these.
    (tmp_path / "failed.json").write_text("{}", encoding="utf-8")
    (tmp_path / "stage.log").write_text("", encoding="utf-8")
    assert run_stage(tmp_path, CONFIG, write_result)
    assert stage_state(tmp_path, CONFIG).name == "done"


def test_work_without_results_or_with_reserved_names_is_refused(tmp_path):
    with pytest.raises(StageError, match="wrote no file"):
        run_stage(tmp_path / "a", CONFIG, lambda directory: None)
    with pytest.raises(StageError, match=r"wrote done\.json"):
        run_stage(
            tmp_path / "b",
            CONFIG,
            lambda directory: (directory / "done.json").write_text("{}", encoding="utf-8"),
        )
    assert not is_done(tmp_path / "a", CONFIG) and not is_done(tmp_path / "b", CONFIG)


def test_a_file_where_the_directory_should_be_is_an_error(tmp_path):
    (tmp_path / "stage").write_text("a file", encoding="utf-8")
    with pytest.raises(OSError, match="stage"):
        run_stage(tmp_path / "stage", CONFIG, never)


def test_a_file_is_complete_or_absent(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as partial:
        partial.write_text("first", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as partial:
        partial.write_text("sec", encoding="utf-8")
        _ = 1 / 0
    assert path.read_text(encoding="utf-8") == "first"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_the_state_of_a_stage_is_read_without_changing_it(tmp_path):
    assert stage_state(tmp_path / "none", CONFIG).name == "missing"
    assert not (tmp_path / "none").exists()
    worker = start(WORKER, tmp_path / "a")
    assert worker.stdout.readline() == "working\n"
    state = stage_state(tmp_path / "a", {"seed": 0})
    assert state.name == "running" and f"process {worker.pid} on" in state.detail
    worker.kill()
    worker.communicate()
    assert stage_state(tmp_path / "a", {"seed": 0}).name == "interrupted"
    with pytest.raises(ZeroDivisionError):
        run_stage(tmp_path / "a", {"seed": 0}, lambda directory: 1 / 0)
    failed = stage_state(tmp_path / "a", {"seed": 0})
    assert (
        failed.name == "failed" and failed.detail.startswith("ZeroDivisionError") and failed.stamp
    )
    run_stage(tmp_path / "a", {"seed": 0}, write_result)
    done = stage_state(tmp_path / "a", {"seed": 0})
    assert done.name == "done" and done.seconds >= 0
    with pytest.raises(StageError, match="another configuration"):
        stage_state(tmp_path / "a", {"seed": 1})
