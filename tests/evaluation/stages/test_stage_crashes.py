"""Test stages that are interrupted, killed or run out of disk space."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from stage_processes import CONFIG, FINISHED, WORKER, never, start, write_result

from jepabench.evaluation.stages.stage import (
    StageError,
    is_done,
    run_stage,
    stage_state,
)


def content(directory):
    """Every file of a directory but those that change between two runs of the same stage."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in (".lock", "done.json")
    }


def test_another_configuration_is_refused_without_changes(tmp_path):
    run_stage(tmp_path, CONFIG, write_result)
    before = content(tmp_path)
    other = {"agent": {"name": "cem", "horizon": 6}, "seed": 0, "extra": 1}
    for call in (lambda: run_stage(tmp_path, other, never), lambda: is_done(tmp_path, other)):
        with pytest.raises(
            StageError, match=r"agent\.horizon is 5 there, 6 asked for; extra is '\(absent\)' there"
        ):
            call()
    assert content(tmp_path) == before
    assert not run_stage(tmp_path, CONFIG, never)


def test_files_of_a_crash_reserve_the_folder_for_its_configuration(tmp_path):
    def crash(directory):
        (directory / "checkpoint.txt").write_text("half way", encoding="utf-8")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage(tmp_path, CONFIG, crash)
    with pytest.raises(StageError, match="another configuration"):
        run_stage(tmp_path, {**CONFIG, "seed": 1}, never)


def test_a_failure_names_the_line_and_the_file_with_the_traceback(tmp_path):
    def divide(directory):
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        run_stage(tmp_path, CONFIG, divide)
    detail = stage_state(tmp_path, CONFIG).detail
    assert "test_stage_crashes.py, line" in detail and "in divide" in detail
    assert str(tmp_path / "failed.json") in detail


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"hash": 1}', b"\xff\xfe"])
def test_a_corrupt_done_marker_reruns_the_stage(tmp_path, damage):
    run_stage(tmp_path, CONFIG, write_result)
    (tmp_path / "done.json").write_bytes(damage)
    assert not is_done(tmp_path, CONFIG)
    assert run_stage(tmp_path, CONFIG, write_result)
    assert not run_stage(tmp_path, CONFIG, never)


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"123")]
)
def test_missing_or_truncated_files_rerun_the_stage(tmp_path, damage):
    run_stage(tmp_path, CONFIG, write_result)
    damage(tmp_path / "model" / "weights.bin")
    assert not is_done(tmp_path, CONFIG)
    assert run_stage(tmp_path, CONFIG, write_result)
    assert is_done(tmp_path, CONFIG)


def test_a_failure_is_recorded_and_raised_and_the_next_try_resumes(tmp_path):
    def fails(directory):
        (directory / "checkpoint").write_text("half way", encoding="utf-8")
        raise ValueError("no luck today")

    with pytest.raises(ValueError, match="no luck today"):
        run_stage(tmp_path, CONFIG, fails)
    failed = json.loads((tmp_path / "failed.json").read_text(encoding="utf-8"))
    assert failed["error"] == "ValueError: no luck today" and failed["pid"] == os.getpid()
    assert failed["traceback"][-1] == "ValueError: no luck today" and any(
        "fails" in line for line in failed["traceback"]
    )
    assert not is_done(tmp_path, CONFIG)

    def resumes(directory):
        assert (directory / "checkpoint").read_text(encoding="utf-8") == "half way"
        write_result(directory)

    assert run_stage(tmp_path, CONFIG, resumes)
    assert not (tmp_path / "failed.json").exists() and (tmp_path / "checkpoint").exists()


def test_an_interrupt_is_not_a_failure_and_releases_the_stage(tmp_path):
    def interrupted(directory):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, CONFIG, interrupted)
    assert not (tmp_path / "failed.json").exists()
    assert run_stage(tmp_path, CONFIG, write_result, wait=0)


def test_a_killed_process_leaves_its_checkpoint_and_no_lock(tmp_path):
    worker = start(WORKER, tmp_path)
    assert worker.stdout.readline() == "working\n"
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert (tmp_path / ".owner.json").exists() and not is_done(tmp_path, {"seed": 0})

    def resumes(directory):
        assert (directory / "checkpoint.txt").read_text(encoding="utf-8") == "half way"
        (directory / "result.txt").write_text("done", encoding="utf-8")

    assert run_stage(tmp_path, {"seed": 0}, resumes, wait=0)
    assert not (tmp_path / ".owner.json").exists()


def test_forked_children_do_not_keep_the_lock_of_a_killed_process(tmp_path):
    script = """
        import os

        def work(directory):
            child = os.fork()
            if child == 0:
                sys.stdin.readline()
                os._exit(0)
            print(child, flush=True)
            os.kill(os.getpid(), 9)

        run_stage(Path(sys.argv[1]), {"seed": 0}, work)
    """
    worker = start(script, tmp_path)
    child = int(worker.stdout.readline())
    assert worker.wait() == -signal.SIGKILL
    os.kill(child, 0)  # it lives
    assert run_stage(tmp_path, {"seed": 0}, write_result, wait=0)
    worker.communicate()


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
def test_a_crash_while_moving_is_repaired_without_rerunning_the_work(tmp_path, monkeypatch, moved):
    real, count = Path.replace, iter(range(100))

    def replace(self, target):
        # Stops at one of the renames that publish: three results, and then the marker.
        if (self.parent.name == ".partial" or self.name == ".commit.json") and next(count) == moved:
            raise OSError("pulled the plug")
        return real(self, target)

    def work(directory):
        write_result(directory)
        (directory / "z.txt").write_text("last", encoding="utf-8")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(OSError, match="pulled the plug"):
            run_stage(tmp_path, CONFIG, work)
    assert not is_done(tmp_path, CONFIG)
    assert not run_stage(tmp_path, CONFIG, never)
    assert is_done(tmp_path, CONFIG)
    assert {path.name for path in tmp_path.iterdir()} == FINISHED | {"z.txt"}


def test_a_crash_while_moving_that_lost_files_reruns_the_work(tmp_path):
    run_stage(tmp_path, CONFIG, write_result)
    (tmp_path / "done.json").rename(tmp_path / ".commit.json")
    (tmp_path / "log.txt").unlink()
    assert run_stage(tmp_path, CONFIG, write_result)
    assert is_done(tmp_path, CONFIG) and not (tmp_path / ".commit.json").exists()


def test_a_full_disk_leaves_no_half_result(tmp_path):
    script = """
        import resource, signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        def work(directory):
            (directory / "small.bin").write_bytes(bytes(100))
            resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
            if sys.argv[2] == "work":
                (directory / "large.bin").write_bytes(bytes(1000))

        config = {"seed": 0, "notes": "x" * 1000 * (sys.argv[2] == "commit")}
        run_stage(Path(sys.argv[1]), config, work)
    """
    for when in ("work", "commit"):  # the marker itself does not fit on the disk the second time
        directory = tmp_path / when
        worker = start(script, directory, when)
        _, errors = worker.communicate()
        assert worker.returncode == 1 and "File too large" in errors
        config = {"seed": 0, "notes": "x" * 1000 * (when == "commit")}
        assert not is_done(directory, config)
        assert not (directory / "small.bin").exists() and not (directory / "done.json").exists()
        assert run_stage(directory, config, write_result, wait=0)
        assert is_done(directory, config)


def test_a_file_that_was_changed_keeping_its_size_is_noticed(tmp_path):
    run_stage(tmp_path, CONFIG, write_result)
    weights = tmp_path / "model" / "weights.bin"
    before = weights.stat()
    weights.write_bytes(b"4321")
    assert not is_done(tmp_path, CONFIG)
    os.utime(
        weights, ns=(before.st_atime_ns, before.st_mtime_ns)
    )  # rotten, not written: only a thorough look tells
    assert is_done(tmp_path, CONFIG) and not is_done(tmp_path, CONFIG, thorough=True)
    assert run_stage(tmp_path, CONFIG, write_result) is False
    weights.write_bytes(b"4321")
    assert run_stage(tmp_path, CONFIG, write_result)
    assert is_done(tmp_path, CONFIG, thorough=True)


def test_touched_or_copied_file_remains_valid(tmp_path):
    run_stage(tmp_path / "a", CONFIG, write_result)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    assert is_done(tmp_path / "b", CONFIG, thorough=True)


def test_a_stage_that_kills_its_workers_is_marked_as_failed(tmp_path):
    script = """
        import os

        def work(directory):
            os.kill(os.getpid(), 9)

        run_stage(Path(sys.argv[1]), {"seed": 0}, work, max_deaths=2)
    """
    codes = []
    for _ in range(4):
        worker = start(script, tmp_path)
        _, errors = worker.communicate()
        codes.append(worker.returncode)
    assert codes == [-signal.SIGKILL] * 3 + [1] and "3 processes in a row were killed" in errors
    state = stage_state(tmp_path, {"seed": 0})
    assert state.name == "failed" and "killed" in state.detail
    assert run_stage(tmp_path, {"seed": 0}, write_result, max_deaths=2)  # and then it starts again


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit(143)])
def test_an_interrupted_stage_has_not_failed_and_resumes(tmp_path, signal):
    def interrupted(directory):
        (directory / "half.txt").write_text("half", encoding="utf-8")
        raise signal

    with pytest.raises(ZeroDivisionError):
        run_stage(tmp_path, CONFIG, lambda directory: 1 / 0)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run_stage(tmp_path, CONFIG, interrupted)
    assert stage_state(tmp_path, CONFIG).name == "interrupted"

    def resume(directory):
        assert (directory / "half.txt").exists()
        write_result(directory)

    assert run_stage(tmp_path, CONFIG, resume)
    assert is_done(tmp_path, CONFIG)
