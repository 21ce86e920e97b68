"""Test level 3: the agent on private episodes, and the record of the re-run."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_submission import ABOUT, ROOM, find_suite, sign, write_true

from jepabench.envs.splits import episode_specs
from jepabench.evaluation.protocol import Suite, SuiteTask
from jepabench.evaluation.rollout import AgentError, evaluate_episodes
from jepabench.evaluation.submissions.submission import read_submission, write_submission
from jepabench.evaluation.verification import agreement, records
from jepabench.evaluation.verification import rerun as verification_rerun
from jepabench.evaluation.verification.levels import verify
from jepabench.evaluation.verification.limits import ControlGroup, Limits
from jepabench.evaluation.verification.records import find_badges, write_record
from jepabench.evaluation.verification.remote_agent import RemoteAgent
from jepabench.evaluation.verification.rerun import Rerun, verify_rerun
from jepabench.evaluation.verification.salt import SALT_VARIABLE, commit_to_salt, read_salt
from jepabench.evaluation.verification.sandbox import can_sandbox

CODE = Path(__file__).parent
SALT = b"a secret of the maintainers, at least 32 bytes"
LIMITS = Limits(memory=1 << 30, seconds=60, file_bytes=16 << 20)
ALL = ("valid", "replayed", "re-run")
ROOMS = Suite(
    name="rooms",
    version=1,
    tasks=(SuiteTask(task_id=ROOM, strata=("near",), num_episodes=8),),
    agents=("a",),
    training_seeds=(0,),
    private_episodes=8,
)


def counts_processor_time() -> bool:
    group = ControlGroup.create(LIMITS)
    if group is None:
        return False
    seconds = group.processor_seconds()
    group.close()
    return seconds is not None


needs_accounting = pytest.mark.skipif(
    not counts_processor_time(), reason="control groups cannot be created here"
)
needs_sandbox = pytest.mark.skipif(not can_sandbox(), reason="bubblewrap cannot be used here")


def find_rooms(name: str) -> Suite:
    assert name == ROOMS.name
    return ROOMS


def submit(folder: Path, kind: str, **track: str) -> Path:
    """Write a true submission of an agent of ``untrusted_agents``, evaluated here."""
    import untrusted_agents

    agent = getattr(untrusted_agents, kind)(task_id=ROOM)
    found = evaluate_episodes(agent, ROOMS.specs(ROOM), agent_name="a")
    nothing = {"transitions": 0, "train_seconds": 0.0, "parameters": 0}
    about = ABOUT | {
        "name": folder.name,
        "training_seeds": [0],
        "costs": [ABOUT["costs"][0] | nothing],
        "agent": {
            "name": "a",
            "learns": False,
            "package": "",
            "track": ABOUT["agent"]["track"] | track,
            "config": {"agent": {"_target_": f"untrusted_agents.{kind}"}},
            "per_task": {},
        },
    }
    actions = {(ROOM, 0): np.concatenate(list(found.actions.values()))}
    write_submission(folder, about, suite=ROOMS, records=found.records, actions=actions)
    return folder


def rerun(folder: Path, **options):
    settings = {"salt": SALT, "limits": LIMITS, "python_path": (CODE,), "batch_size": 4, **options}
    return verify_rerun(verify(folder, find_rooms), folder, find_rooms, Rerun(**settings))


@needs_sandbox
def test_honest_agent_earns_the_badge_and_the_record_keeps_it(tmp_path):
    folder, verified = submit(tmp_path / "honest", "Honest"), tmp_path / "verified"
    found = rerun(folder)
    assert (found.reason, found.badges) == ("", ALL)
    assert found.rerun is not None and found.rerun["episodes"] == 8
    assert found.rerun["sandbox"] == "bubblewrap" and found.rerun["cells"][0]["submitted"] > 0.5
    assert found.rerun["salt_sha256"] == commit_to_salt(SALT)
    assert len(found.rerun["code_sha256"]) == len(found.rerun["environment_sha256"]) == 64

    text = write_record(verified, found, {"date": "today"}).read_text(encoding="utf-8")
    assert find_badges(folder, verified) == ALL and SALT.decode() not in text
    write_record(verified, verify(folder, find_rooms), {"date": "tomorrow"})
    assert find_badges(folder, verified) == ALL  # a check of a lower level removes nothing


@needs_sandbox
def test_record_holds_only_for_the_same_content_and_physics(tmp_path, monkeypatch):
    folder, verified = submit(tmp_path / "honest", "Honest"), tmp_path / "verified"
    write_record(verified, verify(folder, find_rooms), {})
    assert find_badges(folder, verified) == ALL[:2]
    with monkeypatch.context() as patch:
        patch.setattr(records, "simulator_versions", lambda: {"mujoco": "9", "pymunk": "9"})
        assert find_badges(folder, verified) == ()
    (folder / "README.md").write_text("changed afterwards", encoding="utf-8")
    sign(folder)
    assert find_badges(folder, verified) == ()


@needs_sandbox
def test_a_failed_rerun_revokes_the_badge_permanently(tmp_path):
    folder, verified = submit(tmp_path / "looker", "Looker"), tmp_path / "verified"
    before = verify(folder, find_rooms)
    write_record(
        verified, type(before)(name="looker", level=3, badges=ALL, digest=before.digest), {}
    )
    assert find_badges(folder, verified) == ALL
    found = rerun(folder)
    assert found.badges == ALL[:2] and found.check == "re-run"
    path = write_record(verified, found, {})
    assert find_badges(folder, verified) == ALL[:2]
    assert json.loads(path.read_text(encoding="utf-8"))["reason"] == found.reason
    write_record(verified, before, {})  # a later level 2 does not hide that level 3 failed
    assert json.loads(path.read_text(encoding="utf-8"))["check"] == "re-run"


@needs_sandbox
def test_agent_that_looks_into_its_own_simulator_does_not_find_the_episode(tmp_path):
    found = rerun(submit(tmp_path / "looker", "Looker"))
    assert found.badges == ALL[:2] and "is lower than submitted" in found.reason
    assert found.rerun is not None
    assert found.rerun["cells"][0]["submitted"] > 0.5 > found.rerun["cells"][0]["rerun"]


@needs_sandbox
def test_agent_sees_only_what_its_track_declares(tmp_path):
    found = rerun(submit(tmp_path / "liar", "Honest", observation="pixels"))
    assert found.badges == ALL[:2] and found.check == "re-run"
    assert "'achieved_goal', which its declared track does not include" in found.reason


@needs_sandbox
def test_agent_that_needs_more_model_steps_than_declared_is_refused(tmp_path):
    found = rerun(submit(tmp_path / "grower", "Grower"))
    assert found.badges == ALL[:2] and "model steps per control step" in found.reason


@needs_sandbox
@needs_accounting
def test_agent_that_waits_for_a_busy_machine_is_not_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(agreement, "_MILLISECOND_SLACK", 2.0)
    found = rerun(submit(tmp_path / "waiter", "Waiter"))
    assert (found.reason, found.badges) == ("", ALL)
    assert found.rerun is not None
    (planning,) = found.rerun["planning"]
    assert planning["rerun"] > 6.0 and 0.0 < planning["processor"] < 2.0


@needs_sandbox
@needs_accounting
@pytest.mark.parametrize("kind", ["Thinker", "Delegator"])
def test_agent_that_plans_for_longer_than_declared_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(agreement, "_MILLISECOND_SLACK", 2.0)
    found = rerun(submit(tmp_path / "thinker", kind))
    assert found.badges == ALL[:2] and "ms per control step" in found.reason


@needs_sandbox
def test_time_by_the_clock_decides_where_processor_time_is_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(agreement, "_MILLISECOND_SLACK", 2.0)
    monkeypatch.setattr(ControlGroup, "create", classmethod(lambda cls, limits: None))
    found = rerun(submit(tmp_path / "waiter", "Waiter"))
    assert found.badges == ALL[:2] and "machine was busy" in found.reason
    assert found.rerun is not None and "processor" not in found.rerun["planning"][0]


@needs_sandbox
def test_fewer_private_episodes_than_the_suite_has_give_no_badge(tmp_path):
    folder = submit(tmp_path / "honest", "Honest")
    found = rerun(folder, num_episodes=2)
    assert found.badges == ALL[:2] and "at least 8 private episodes" in found.reason
    more = rerun(folder, num_episodes=10).rerun
    assert more is not None and more["episodes"] == 10


def test_agent_that_declares_the_simulator_is_not_rerun(tmp_path):
    found = rerun(submit(tmp_path / "ceiling", "Looker", privilege="simulator"), allow_exposed=True)
    assert found.badges == ALL[:2] and "asks the simulator" in found.reason


def test_level_3_refuses_without_a_sandbox(tmp_path, monkeypatch):
    monkeypatch.setattr(verification_rerun, "can_sandbox", lambda: False)
    folder = submit(tmp_path / "honest", "Honest")
    assert "install bubblewrap" in rerun(folder).reason
    exposed = rerun(folder, allow_exposed=True)
    assert exposed.badges == ALL
    assert exposed.rerun is not None and exposed.rerun["sandbox"] == "none"


def make_agent(kind: str, **options) -> RemoteAgent:
    settings = {"limits": LIMITS, "sandboxed": can_sandbox(), "python_path": (CODE,)} | options
    config = {"_target_": f"untrusted_agents.{kind}"}
    return RemoteAgent(config, ROOM, paths={}, salt=b"for the agent", **settings)


@pytest.mark.parametrize(
    ("kind", "message", "options"),
    [
        ("Glutton", "MemoryError|Unable to allocate", {}),
        ("Silent", "no answer within 3 s", {"patience": 3.0}),
        ("Endless", "ended", {"limits": Limits(memory=1 << 30, seconds=1)}),
        ("Forger", "header of|ended", {}),
    ],
)
def test_a_misbehaving_agent_ends_only_its_own_run(kind, message, options):
    with make_agent(kind, **options) as agent, pytest.raises(AgentError, match=message):
        agent.reset(episode_specs(ROOM, "test", 1, strata=("near",)))


@pytest.mark.parametrize(("kind", "message"), [("Talkative", "header of"), ("Counter", "count")])
def test_impossible_agent_answers_are_refused(kind, message):
    with make_agent(kind) as agent, pytest.raises(AgentError, match=message):
        specs = episode_specs(ROOM, "test", 1, strata=("near",))
        evaluate_episodes(agent, specs, agent_name="a")


def test_agent_that_cannot_be_made_is_explained():
    with pytest.raises(AgentError, match="Nobody"):
        make_agent("Nobody")


@pytest.mark.parametrize(
    ("mode", "content", "message"),
    [
        (0o644, "0123456789abcdef" * 3, "only you may read it"),
        (0o640, "0123456789abcdef" * 3, "chmod 600"),
        (0o600, "short", "has 5 bytes"),
        (0o600, "x" * 5000, "4096"),
        (0o600, "", "openssl rand"),
    ],
)
def test_salt_file_must_be_private_and_long(mode, content, message, tmp_path):
    path = tmp_path / "salt"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(ValueError, match=message):
        read_salt(path)


def test_salt_comes_from_a_file_or_a_pipe_never_the_environment(tmp_path, monkeypatch):
    import os

    path = tmp_path / "salt"
    path.write_text("0123456789abcdef" * 3 + "\n", encoding="utf-8")
    path.chmod(0o600)
    assert read_salt(path) == b"0123456789abcdef" * 3
    reading, writing = os.pipe()
    os.write(writing, b"f" * 40)
    os.close(writing)
    assert read_salt(Path(f"/dev/fd/{reading}")) == b"f" * 40
    os.close(reading)
    with pytest.raises(ValueError, match="neither a regular file nor a pipe"):
        read_salt(Path("/dev/zero"))
    with pytest.raises(ValueError, match="No such file"):
        read_salt(tmp_path / "missing")
    monkeypatch.setenv(SALT_VARIABLE, "0123456789abcdef" * 3)
    with pytest.raises(ValueError, match="unset the variable"):
        read_salt(path)


def test_missing_checkpoints_are_named(tmp_path):
    folder = tmp_path / "seeker"
    write_true(folder)
    found = read_submission(folder, find_suite)
    config = found.manifest.agent.config | {"world_model": "jepa"}
    agent = found.manifest.agent.model_copy(update={"config": config})
    manifest = found.manifest.model_copy(update={"agent": agent})
    changed = type(found)(manifest, found.suite, found.rows, found.actions, found.digest)
    settings = Rerun(salt=SALT, limits=LIMITS)
    with pytest.raises(ValueError, match=r"checkpoints/TwoRoom-v1/seed0/world_model: submit with"):
        verification_rerun.rerun(changed, folder, settings)
