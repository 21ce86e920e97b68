import bad_worlds
import numpy as np
import pytest

from jepabench.envs.checks.checker import check_env
from jepabench.envs.checks.fingerprint import digest, fingerprint
from jepabench.envs.registry import UnknownNameError, make

FAULTS = {
    "Global": "a seed fixes an episode",
    "Hashed": "processes agree",
    "Forgetful": "snapshots",
    "Scalar": "rewards",
    "Solved": "difficulty",
    "Impossible": "difficulty",
    "Lenient": "bad actions",
    "Unstable": "values",
    "Blind": "frames",
    "Leaky": "splits",
}


def failed(card):
    return [check.name for check in card.checks if not check.passed]


def test_a_sound_world_passes():
    card = check_env("bad/TinyWorld-v0", num_episodes=3)
    assert card.passed, card.text()
    assert card.rates["expert"]["far"] == 1.0 and card.rates["hold-still"]["near"] == 0.0
    assert card.speeds["steps/s"] > 0
    lines = card.text().splitlines()
    assert lines[-len(card.rates) - 1].split() == "success held in 3 test episodes near far".split()
    assert lines[-1].split() == ["expert", "100", "%", "100", "%"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_promise_is_found_and_named(name):
    card = check_env(f"bad/{name}-v0", num_episodes=3)
    assert FAULTS[name] in failed(card), card.text()
    assert not card.passed and "NOT SOUND" in card.text()
    assert all(check.message and check.mend for check in card.checks if not check.passed)


def test_every_bad_world_is_tried():
    assert {*FAULTS, "TinyWorld", "Broken", "Falls"} == set(bad_worlds.WORLDS)


def test_a_world_that_cannot_be_made_gives_one_failed_check_and_its_reason():
    card = check_env("bad/Broken-v0")
    assert failed(card) == ["it starts"] and len(card.checks) == 1
    assert "the mesh file is missing" in card.checks[0].message
    assert card.fingerprint == "" and "envs.make" in card.text()


def test_a_world_that_falls_over_does_not_take_the_suite_with_it():
    card = check_env("bad/Falls-v0", num_episodes=1)
    assert {"values", "snapshots", "rewards", "difficulty", "speed"} <= set(failed(card))
    assert "the solver gave up" in card.text()


def test_unknown_tasks_and_no_episodes_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean"):
        check_env("jepabench/TwoRom-v1")
    with pytest.raises(ValueError, match="1 or more"):
        check_env("jepabench/TwoRoom-v1", num_episodes=0)


def test_the_fingerprint_changes_with_physics_and_pictures_and_nothing_else(monkeypatch):
    before = fingerprint("jepabench/TwoRoom-v1")
    assert fingerprint("jepabench/TwoRoom-v1") == before
    with monkeypatch.context() as patch:
        patch.setattr("jepabench.envs.maze.two_room.STEP_LENGTH", 0.0501)
        assert fingerprint("jepabench/TwoRoom-v1") != before
    with monkeypatch.context() as patch:
        patch.setattr("jepabench.envs.maze.arena._ZONE_COLOUR", (0.9, 0.8, 0.5, 1.0))
        assert fingerprint("jepabench/TwoRoom-v1") != before
    make("jepabench/TwoRoom-Random-v1", pixels=64).reset(seed=5)
    assert fingerprint("jepabench/TwoRoom-v1") == before


def test_rounded_digests_forgive_rounding_errors_and_nothing_else():
    def of(value, **kwargs):
        return digest([{"observation": np.array([value])}], **kwargs)

    assert of(0.1 + 0.2, decimals=6) == of(0.3, decimals=6) != of(0.30001, decimals=6)
    assert of(-1e-12, decimals=6) == of(0.0, decimals=6)
    assert of(0.1 + 0.2) != of(0.3)
