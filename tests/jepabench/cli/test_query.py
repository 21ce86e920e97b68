import dataclasses

import pandas as pd
import pytest
from result_rows import RECORD

import jepabench
from jepabench.cli.benchmark.query import query
from jepabench.evaluation.records import RecordError, write_records
from jepabench.evaluation.stages.stage import run_stage
from jepabench.main import main


def evaluation(output, agent, held, *, seed=0):
    """Writes a finished evaluation of one agent, as a run leaves it."""
    records = [
        dataclasses.replace(
            RECORD, agent=agent, training_seed=seed, index=index, success_held=bool(flag)
        )
        for index, flag in enumerate(held)
    ]
    directory = output / "quick" / "evaluations" / "Task-v1" / agent / f"seed{seed}"
    config = {"task_id": "jepabench/Task-v1", "agent": {"name": agent}, "seed": seed}
    run_stage(directory, config, lambda folder: write_records(folder / "episodes.parquet", records))
    return directory


def test_questions_about_episodes_and_runs_are_answered(tmp_path):
    evaluation(tmp_path, "good", [1, 1, 1, 0])
    evaluation(tmp_path, "bad", [1, 0, 0, 0])
    held = query(
        "SELECT agent, avg(success_held::INT) AS held FROM episodes GROUP BY agent ORDER BY agent",
        tmp_path,
    )
    assert held.to_dict("list") == {"agent": ["bad", "good"], "held": [0.25, 0.75]}
    runs = query("SELECT kind, state, suite, task, agent, seed FROM runs ORDER BY agent", tmp_path)
    assert runs.iloc[0].to_dict() == {
        "kind": "evaluation",
        "state": "done",
        "suite": "quick",
        "task": "jepabench/Task-v1",
        "agent": "bad",
        "seed": 0,
    }
    both = query("SELECT count(*) AS n FROM episodes JOIN runs USING (directory)", tmp_path)
    assert both["n"].item() == 8


def test_new_and_changed_results_are_read_and_removed_ones_are_not(tmp_path):
    gone = evaluation(tmp_path, "first", [1, 0])
    assert len(jepabench.load_results(tmp_path)) == 2
    evaluation(tmp_path, "second", [1, 1, 1])
    assert jepabench.load_results(tmp_path).groupby("agent")["success_held"].sum().to_dict() == {
        "first": 1,
        "second": 3,
    }
    (gone / "done.json").unlink()
    assert set(jepabench.load_results(tmp_path)["agent"]) == {"second"}


def test_reading_returns_what_was_written(tmp_path):
    directory = evaluation(tmp_path, "good", [1, 0, 1])
    loaded = jepabench.load_results(tmp_path)
    assert list(loaded.columns[:2]) == ["suite", "directory"] and set(loaded["suite"]) == {"quick"}
    pd.testing.assert_frame_equal(
        loaded.iloc[:, 2:], pd.read_parquet(directory / "episodes.parquet")
    )


def test_a_damaged_result_is_omitted_and_a_damaged_cache_is_rebuilt(tmp_path, caplog):
    evaluation(tmp_path, "good", [1, 1])
    (evaluation(tmp_path, "bad", [0, 0]) / "episodes.parquet").write_bytes(b"not parquet")
    assert set(jepabench.load_results(tmp_path)["agent"]) == {"good"}
    assert "Skipped" in caplog.text and "bad/seed0" in caplog.text
    (tmp_path / "store" / "episodes.parquet").write_bytes(b"PAR1")
    assert set(jepabench.load_results(tmp_path)["agent"]) == {"good"}


@pytest.mark.parametrize(
    "sql", ["SELEC 1", "SELECT * FROM episode", "SELECT nothing FROM episodes"]
)
def test_invalid_query_prints_one_sentence(tmp_path, sql, capsys):
    evaluation(tmp_path, "good", [1])
    assert main(["query", sql, "--output", str(tmp_path)]) == 2
    assert "Tables are episodes and runs" in capsys.readouterr().err


def test_a_folder_without_results_is_reported(tmp_path):
    with pytest.raises(RecordError, match="no finished evaluation"):
        query("SELECT * FROM episodes", tmp_path)


def test_only_questions_about_results_need_a_folder(tmp_path, capsys):
    nowhere = ["--output", str(tmp_path / "nowhere")]
    assert main(["query", "SELECT '[/x] jepabench[contrib]' AS a", *nowhere]) == 0
    assert "[/x] jepabench[contrib]" in capsys.readouterr().out
    for table in ("episodes", "runs"):
        assert main(["query", f"SELECT * FROM {table}", *nowhere]) == 2
        assert "There is no folder" in capsys.readouterr().err


def test_answers_are_printed_as_a_table_or_csv(tmp_path, capsys):
    evaluation(tmp_path, "good", [1, 1])
    arguments = [
        "query",
        "SELECT agent, count(*) AS n FROM episodes GROUP BY agent",
        "--output",
        str(tmp_path),
    ]
    assert main([*arguments, "--csv"]) == 0
    assert capsys.readouterr().out == "agent,n\ngood,2\n"
    assert main(arguments) == 0
    assert "good" in capsys.readouterr().out


@pytest.mark.parametrize("has_cache", [False, True])
def test_results_in_a_read_only_folder_are_queried(tmp_path, monkeypatch, has_cache):
    evaluation(tmp_path, "first", [1, 0])
    if has_cache:
        jepabench.load_results(tmp_path)
    evaluation(tmp_path, "second", [1, 1, 1])

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("jepabench.results.store.atomic_write", refuse)
    tmp_path.chmod(0o555)
    try:
        counts = query("SELECT agent, count(*) AS n FROM episodes GROUP BY agent", tmp_path)
        assert len(jepabench.load_results(tmp_path)) == 5
    finally:
        tmp_path.chmod(0o755)
    assert dict(zip(counts["agent"], counts["n"], strict=True)) == {"first": 2, "second": 3}
    assert (tmp_path / "store" / "episodes.parquet").exists() is has_cache
