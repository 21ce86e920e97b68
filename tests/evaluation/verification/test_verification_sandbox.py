"""Test hostile agents at level 3: each is contained, and the reason names what stopped it."""

import ast
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_submission import ROOM

from jepabench.envs.splits import episode_specs
from jepabench.evaluation.rollout import AgentError
from jepabench.evaluation.verification import limits, sandbox
from jepabench.evaluation.verification.limits import ControlGroup, Limits, ProcessPoller
from jepabench.evaluation.verification.remote_agent import RemoteAgent
from jepabench.evaluation.verification.sandbox import SCRATCH, can_sandbox

LIMITS = Limits(memory=256 << 20, seconds=60, file_bytes=16 << 20, processes=24, scratch=32 << 20)
SPECS = episode_specs(ROOM, "test", 1, strata=("near",))
pytestmark = pytest.mark.skipif(not can_sandbox(), reason="bubblewrap cannot be used here")


@pytest.fixture
def code(tmp_path):
    """A folder with the agents' code, which they can read."""
    folder = tmp_path / "code"
    folder.mkdir()
    shutil.copy(Path(__file__).parent / "sandbox_agents.py", folder)
    return folder


def make_agent(kind: str, code: Path, **options) -> RemoteAgent:
    settings = {"limits": LIMITS, "sandboxed": True, "patience": 60.0, **options}
    config = {"_target_": f"sandbox_agents.{kind}"}
    return RemoteAgent(config, ROOM, paths={}, salt=b"told", python_path=(code,), **settings)


def attack(kind: str, code: Path, **options) -> str:
    """Return what an agent achieved, or what stopped it."""
    with make_agent(kind, code, **options) as agent, pytest.raises(AgentError) as stopped:
        agent.reset(SPECS)
    return str(stopped.value)


def test_sandboxed_agent_writes_only_to_scratch_space(code):
    written = ast.literal_eval(attack("Writer", code).partition("DONE ")[2])
    # Scratch space is the agent's own /tmp, also if this checkout is below the /tmp of the host.
    assert [place for place in written if not Path(place).is_relative_to(SCRATCH)] == []
    assert not [place for place in written if (Path(place) / "forged.pth").exists()]
    assert sorted(path.name for path in code.iterdir()) == ["sandbox_agents.py"]


def test_sees_neither_home_nor_records(code, tmp_path):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (code / "home").write_text(str(home), encoding="utf-8")
    assert "DONE []" in attack("HomeReader", code)


def test_sandboxed_agent_cannot_read_the_salt(code, tmp_path, monkeypatch):
    monkeypatch.setenv("A_SECRET_OF_THE_MAINTAINER", "never-to-be-seen")
    secret = tmp_path / "salt"
    secret.write_text("never-to-be-seen", encoding="utf-8")
    with secret.open(encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)
        found = attack("SaltReader", code)
    assert "DONE" in found and "never-to-be-seen" not in found and str(secret) not in found


def test_files_do_not_persist_between_seeds(code):
    assert "DONE []" in attack("Notes", code)
    assert "DONE []" in attack("Notes", code)


def test_reaches_no_socket_file(code, tmp_path):
    outside = tmp_path / "outside"
    (code / "outside").write_text(str(outside), encoding="utf-8")
    addresses = (str(code / "daemon"), str(outside), "\0abstract-daemon")
    servers = [socket.socket(socket.AF_UNIX) for _ in addresses]
    try:
        for server, address in zip(servers, addresses, strict=True):
            server.bind(address)
            server.listen()
        assert "DONE []" in attack("UnixSocket", code)
    finally:
        for server in servers:
            server.close()


def test_reaches_no_network(code):
    with socket.create_server(("127.0.0.1", 0)) as server:
        (code / "port").write_text(str(server.getsockname()[1]), encoding="utf-8")
        assert "DONE []" in attack("Network", code)


@pytest.mark.parametrize("kind", ["ForkBomb", "ThreadBomb"])
def test_starts_no_more_processes_than_allowed(kind, code):
    found = attack(kind, code)
    assert "DONE" not in found
    assert "processes and threads" in found or "Resource" in found or "new thread" in found


def test_children_share_one_memory_limit(code):
    found = attack("MemoryOfChildren", code)
    assert "DONE" not in found and "of memory together" in found


def test_has_no_shared_memory_beyond_its_limits(code):
    assert "DONE ['OSError']" in attack("SharedMemory", code)


def test_many_files_share_one_limit(code):
    found = attack("Disk", code)
    assert "DONE" not in found and "No space left on device" in found


def test_children_end_with_the_sandbox(code):
    before = _count_processes()
    with make_agent("Orphan", code) as agent:
        agent.reset(SPECS)
        assert _count_processes() > before
    for _ in range(50):
        if _count_processes() <= before:
            return
        time.sleep(0.1)
    pytest.fail("a child outlived its sandbox")


def test_cannot_trace_processes_or_create_namespaces(code):
    found = attack("Tracer", code)
    assert "DONE []" in found
    assert int(found.rpartition("], ")[2].split()[0]) <= 4  # its own, and bubblewrap's


def test_starts_no_program_of_the_system(code):
    assert "DONE []" in attack("Program", code)


def test_has_no_privileges(code):
    found = attack("Unprivileged", code)
    assert "CapEff:\\t0000000000000000" in found and "NoNewPrivs:\\t1" in found
    assert "uid 65534" in found and "host sandbox" in found


def test_limits_hold_without_control_groups(code, monkeypatch):
    monkeypatch.setattr(ControlGroup, "create", classmethod(lambda cls, limits: None))
    assert "of memory together" in attack("MemoryOfChildren", code)


def test_poller_counts_processes():
    program = "import os, time\nfor _ in range(6):\n    os.fork() or time.sleep(60)\ntime.sleep(60)"
    command = [
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])",
    ]
    process = subprocess.Popen(command, start_new_session=True)
    killed = []
    poller = ProcessPoller(process.pid, Limits(processes=4), lambda: killed.append(True))
    for _ in range(100):
        if killed:
            break
        time.sleep(0.1)
    os.killpg(process.pid, 9)
    process.wait()
    poller.close()
    assert killed and "4 processes" in poller.reason()


def test_refuses_where_bubblewrap_is_missing(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    assert not sandbox.can_sandbox.__wrapped__()


def _count_processes() -> int:
    """Return how many processes run an agent."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            count += b"agent_process" in (folder / "cmdline").read_bytes()
        except OSError:
            continue
    return count


@pytest.fixture
def cgroup2(tmp_path, monkeypatch):
    """A folder that looks like the root of cgroup v2, with this process in the group ``here``."""
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    (root / "here").mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpu memory pids\n", encoding="utf-8")
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/here\n", encoding="utf-8")
    monkeypatch.setattr(limits, "_CGROUP", root)
    monkeypatch.setattr(limits, "_PROC", proc)
    return root / "here"


def test_control_group_v2_limits_and_reports(cgroup2):
    group = ControlGroup.create(LIMITS)
    assert group is not None
    (folder,) = cgroup2.glob("jepabench-*")
    assert group.member_files == [folder / "cgroup.procs"]
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert written == {"memory.max": str(LIMITS.total_memory), "pids.max": "24"}
    control = cgroup2 / "cgroup.subtree_control"
    assert control.read_text(encoding="utf-8") == "+memory +pids"
    assert group.reason() == "" and group.processor_seconds() is None
    (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n", encoding="utf-8")
    assert group.processor_seconds() == 2.5
    (folder / "pids.events").write_text("max 3\n", encoding="utf-8")
    assert "24 processes" in group.reason()
    (folder / "memory.events").write_text("oom 1\noom_kill 1\n", encoding="utf-8")
    assert "of memory together" in group.reason()
