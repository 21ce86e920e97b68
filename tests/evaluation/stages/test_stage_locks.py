"""Test stages that several processes want to run."""

import json
import os
import signal
import threading
import time

import pytest
from stage_processes import WORKER, never, start, write_result

from jepabench.evaluation.stages.locks import StageLock
from jepabench.evaluation.stages.stage import (
    StageBusyError,
    StageLostError,
    is_done,
    run_stage,
    stage_state,
)

CONFIG = {"seed": 0}


def test_exactly_one_of_several_racing_processes_does_the_work(tmp_path):
    script = """
        import os

        def work(directory):
            with open(sys.argv[2], "a") as log:
                log.write(f"{os.getpid()}\\n")
            (directory / "result.txt").write_text("x" * 100_000)

        print("ready", flush=True)
        sys.stdin.readline()
        for stage in range(20):
            print(run_stage(Path(sys.argv[1]) / str(stage), {"stage": stage}, work), flush=True)
    """
    racers = [start(script, tmp_path / "stages", tmp_path / "log") for _ in range(3)]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 3
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    outputs = [racer.communicate()[0].split() for racer in racers]
    assert [sorted(column) for column in zip(*outputs, strict=True)] == [
        ["False", "False", "True"]
    ] * 20
    assert len((tmp_path / "log").read_text(encoding="utf-8").split()) == 20


def test_a_second_process_names_the_owner_or_waits(tmp_path):
    worker = start(WORKER, tmp_path)
    assert worker.stdout.readline() == "working\n"
    with pytest.raises(StageBusyError, match=f"worked on by process {worker.pid} on "):
        run_stage(tmp_path, {"seed": 0}, never, wait=0)
    result = []
    waiting = threading.Thread(
        target=lambda: result.append(run_stage(tmp_path, {"seed": 0}, never))
    )
    waiting.start()
    assert worker.communicate("go\n")[0] == "True\n"
    waiting.join()
    assert result == [False]
    assert (tmp_path / "result.txt").read_text(encoding="utf-8") == "done"


def test_a_waiting_process_takes_over_when_the_other_is_killed(tmp_path):
    worker = start(WORKER, tmp_path)
    assert worker.stdout.readline() == "working\n"
    result = []
    waiting = threading.Thread(
        target=lambda: result.append(run_stage(tmp_path, {"seed": 0}, write_result))
    )
    waiting.start()
    worker.kill()
    worker.communicate()
    waiting.join()
    assert result == [True]


def test_a_stopped_process_keeps_its_stage_despite_an_old_heartbeat(tmp_path):
    worker = start(WORKER, tmp_path)
    assert worker.stdout.readline() == "working\n"
    worker.send_signal(signal.SIGSTOP)
    os.utime(tmp_path / ".owner.json", (0, 0))
    with pytest.raises(StageBusyError):
        run_stage(tmp_path, {"seed": 0}, never, stale_after=0.01, wait=0)
    worker.send_signal(signal.SIGCONT)
    assert worker.communicate("go\n")[0] == "True\n"


def elsewhere(directory, *, age):
    """Write the owner file of a process on another machine, whose kernel lock is invisible here."""
    directory.mkdir(exist_ok=True)
    owner = {"pid": 1, "host": "node7", "boot": "another", "token": "theirs", "since": "2026-01-01"}
    (directory / ".owner.json").write_text(json.dumps(owner), encoding="utf-8")
    then = time.time() - age
    os.utime(directory / ".owner.json", (then, then))


def test_a_live_heartbeat_of_another_machine_is_respected_and_a_dead_one_is_not(tmp_path):
    elsewhere(tmp_path / "live", age=5)
    with pytest.raises(StageBusyError, match="process 1 on node7 since 2026-01-01"):
        run_stage(tmp_path / "live", CONFIG, never, stale_after=60, wait=0)
    elsewhere(tmp_path / "dead", age=100)
    assert run_stage(tmp_path / "dead", CONFIG, write_result, stale_after=60, wait=0)


def test_a_heartbeat_from_the_future_does_not_lock_a_stage(tmp_path):
    elsewhere(tmp_path, age=-100_000)
    assert stage_state(tmp_path, CONFIG).name != "running"
    assert run_stage(tmp_path, CONFIG, write_result, stale_after=60, wait=0)


def test_a_process_that_lost_its_stage_does_not_publish(tmp_path):
    def overtaken(directory):
        write_result(directory)
        elsewhere(tmp_path, age=0)

    with pytest.raises(StageLostError, match="taken over by process 1 on node7"):
        run_stage(tmp_path, CONFIG, overtaken)
    assert not is_done(tmp_path, CONFIG) and not (tmp_path / "failed.json").exists()
    assert json.loads((tmp_path / ".owner.json").read_text(encoding="utf-8"))["token"] == "theirs"


def test_heartbeats_go_on_while_the_stage_is_held(tmp_path):
    with StageLock(tmp_path, stale_after=0.04):
        os.utime(tmp_path / ".owner.json", (0, 0))
        give_up = time.monotonic() + 10
        while (tmp_path / ".owner.json").stat().st_mtime == 0:
            assert time.monotonic() < give_up
    assert not (tmp_path / ".owner.json").exists()


def test_threads_of_one_process_exclude_each_other(tmp_path):
    with StageLock(tmp_path), pytest.raises(StageBusyError), StageLock(tmp_path):
        pass
    with StageLock(tmp_path):
        pass


def test_lock_inherited_by_surviving_child_is_respected(tmp_path):
    """Between fork and exec, a child holds a copy of its parent's lock, and the parent may die."""
    script = """
        import os, subprocess

        def work(directory):
            # A child that keeps the lock's open file until its standard input ends.
            fds = os.listdir("/proc/self/fd")
            files = {os.path.realpath(f"/proc/self/fd/{fd}"): int(fd) for fd in fds}
            subprocess.Popen(["cat"], pass_fds=[files[str(directory.parent / ".lock")]])
            print("working", flush=True)
            os.kill(os.getpid(), 9)

        run_stage(Path(sys.argv[1]), {"seed": 0}, work)
    """
    worker = start(script, tmp_path)
    assert worker.stdout.readline() == "working\n"
    worker.wait()
    threading.Timer(0.5, worker.stdin.close).start()
    assert run_stage(tmp_path, CONFIG, write_result, wait=0)
    worker.stdout.close()
    worker.stderr.close()
