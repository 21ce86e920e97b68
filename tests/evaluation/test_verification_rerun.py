"""Level 3: the agent again, on episodes that it can not know, in a process that may not do much."""

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from tiny_submission import ABOUT, ROOM, find_suite, sign, write_true

from jepabench.envs.splits import episode_specs
from jepabench.evaluation.protocol import Suite, SuiteTask
from jepabench.evaluation.rollout import AgentError, evaluate_episodes
from jepabench.evaluation.submissions.submission import read_submission, write_submission
from jepabench.evaluation.verification import rerun as verification_rerun
from jepabench.evaluation.verification.confinement import Limits, can_isolate
from jepabench.evaluation.verification.levels import badges_of, verify, write_record
from jepabench.evaluation.verification.remote_agent import RemoteAgent
from jepabench.evaluation.verification.rerun import (
    SALT_VARIABLE,
    Rerun,
    private_salt,
    verify_rerun,
)

CODE = Path(__file__).parent
SALT = b"a secret of the maintainers"
LIMITS = Limits(memory=1 << 30, seconds=60, file_bytes=16 << 20)
ROOMS = Suite(
    name="rooms",
    version=1,
    tasks=(SuiteTask(task_id=ROOM, strata=("near",), num_episodes=8),),
    agents=("a",),
    training_seeds=(0,),
)
needs_isolation = pytest.mark.skipif(
    not can_isolate(), reason="this system can not isolate a process"
)


def rooms(name: str) -> Suite:
    assert name == ROOMS.name
    return ROOMS


def submitted(folder: Path, kind: str, privilege: str = "none") -> Path:
    """A true submission of an agent of ``untrusted_agents``, evaluated here."""
    import untrusted_agents

    agent = getattr(untrusted_agents, kind)(task_id=ROOM)
    found = evaluate_episodes(agent, ROOMS.specs(ROOM), agent_name="a")
    about = ABOUT | {
        "name": folder.name,
        "training_seeds": [0],
        "costs": ABOUT["costs"][:1],
        "agent": {
            "name": "a",
            "learns": False,
            "package": "",
            "track": ABOUT["agent"]["track"] | {"privilege": privilege},
            "config": {"agent": {"_target_": f"untrusted_agents.{kind}"}},
            "per_task": {},
        },
    }
    actions = {(ROOM, 0): np.concatenate(list(found.actions.values()))}
    write_submission(folder, about, suite=ROOMS, records=found.records, actions=actions)
    return folder


def again(folder: Path, salt: bytes = SALT):
    settings = Rerun(salt=salt, limits=LIMITS, python_path=(CODE,), batch_size=4)
    return verify_rerun(verify(folder, rooms), folder, rooms, settings)


@needs_isolation
def test_an_honest_agent_does_as_well_on_private_episodes(tmp_path):
    folder = submitted(tmp_path / "honest", "Honest")
    found = again(folder)
    assert (found.reason, found.badges) == ("", ("valid", "replayed", "re-run"))
    assert found.rerun is not None and found.rerun["episodes"] == 8 and found.rerun["isolated"]
    assert found.rerun["cells"][0]["submitted"] > 0.5

    write_record(tmp_path / "verified", found, {"date": "today"})
    assert badges_of(folder, tmp_path / "verified") == ("valid", "replayed", "re-run")
    write_record(
        tmp_path / "verified", verify(folder, rooms), {"date": "tomorrow"}
    )  # of a lower level: nothing is lost
    assert badges_of(folder, tmp_path / "verified") == ("valid", "replayed", "re-run")
    (folder / "README.md").write_text("changed afterwards", encoding="utf-8")
    sign(folder)
    assert badges_of(folder, tmp_path / "verified") == ()


@needs_isolation
def test_an_agent_that_looks_into_the_simulator_is_replayed_but_not_re_run(tmp_path):
    found = again(submitted(tmp_path / "looker", "Looker"))
    assert found.badges == ("valid", "replayed") and found.check == "re-run"
    assert "success_held does not agree" in found.reason
    assert (
        found.rerun is not None
        and found.rerun["cells"][0]["submitted"] > 0.5 > found.rerun["cells"][0]["rerun"]
    )


def test_what_says_that_it_sees_the_simulator_is_not_re_run(tmp_path):
    found = again(submitted(tmp_path / "ceiling", "Looker", privilege="simulator"))
    assert found.badges == ("valid", "replayed") and "sees the simulator" in found.reason


def remote(kind: str, **options) -> RemoteAgent:
    settings = {
        "limits": LIMITS,
        "isolated": can_isolate(),
        "python_path": (CODE,),
        "patience": 120.0,
    } | options
    config = {"_target_": f"untrusted_agents.{kind}"}
    return RemoteAgent(config, ROOM, paths={}, salt=b"told to the agent", **settings)


@needs_isolation
def test_an_agent_finds_no_secret_no_network_and_no_room(tmp_path, monkeypatch):
    shutil.copy(CODE / "untrusted_agents.py", tmp_path)
    monkeypatch.setenv(SALT_VARIABLE, SALT.decode())
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / "port").write_text(str(server.getsockname()[1]), encoding="utf-8")
        with remote("Thief", python_path=(tmp_path,)) as agent, pytest.raises(AgentError) as told:
            agent.reset(episode_specs(ROOM, "private", 1, strata=("near",), salt=SALT))
    text = str(told.value)
    assert "RuntimeError" in text and f"salt {b'told to the agent'.hex()}" in text
    assert SALT.decode() not in text and SALT.hex() not in text
    assert "NETWORK" not in text and "DISK" not in text


@pytest.mark.parametrize(
    ("kind", "message", "options"),
    [
        ("Glutton", "MemoryError|Unable to allocate", {}),
        ("Silent", "no answer within 3 s", {"patience": 3.0}),
        ("Endless", "ended", {"limits": Limits(memory=1 << 30, seconds=1)}),
        ("Forger", "header of|ended", {}),
    ],
)
def test_an_agent_that_breaks_the_rules_ends_its_run_and_nothing_else(kind, message, options):
    with remote(kind, **options) as agent, pytest.raises(AgentError, match=message):
        agent.reset(episode_specs(ROOM, "test", 1, strata=("near",)))


def test_an_answer_that_is_too_long_is_not_read():
    with remote("Talkative") as agent:
        specs = episode_specs(ROOM, "test", 1, strata=("near",))
        with pytest.raises(AgentError, match="header of"):
            evaluate_episodes(agent, specs, agent_name="talkative")


def test_an_agent_that_can_not_be_made_is_explained():
    with pytest.raises(AgentError, match="Nobody"):
        remote("Nobody")


def test_a_secret_is_asked_for(monkeypatch):
    monkeypatch.setenv(SALT_VARIABLE, "short")
    with pytest.raises(ValueError, match="16 characters or more"):
        private_salt()


def test_checkpoints_that_lack_are_named(tmp_path):
    folder = tmp_path / "seeker"
    write_true(folder)
    found = read_submission(folder, find_suite)
    config = found.manifest.agent.config | {"world_model": "jepa"}
    agent = found.manifest.agent.model_copy(update={"config": config})
    manifest = found.manifest.model_copy(update={"agent": agent})
    changed = type(found)(manifest, found.suite, found.rows, found.actions, found.digest)
    with pytest.raises(
        ValueError, match=r"checkpoints/TwoRoom-v1/seed0/world_model.*checkpoints=yes"
    ):
        verification_rerun.rerun(changed, folder, Rerun(salt=SALT, limits=LIMITS))
