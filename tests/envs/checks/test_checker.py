import bad_worlds
import mujoco
import numpy as np
import pytest

from jepabench.envs.checks.checker import check_env
from jepabench.envs.checks.conformance import CHECKS
from jepabench.envs.checks.fingerprint import digest, fingerprint
from jepabench.envs.errors import UnknownNameError
from jepabench.envs.registry import make

SOUND = ("TinyWorld", "InPlace", "Colourful", "Simulated")
# By environment, the check that fails and a part of its message.
FAULTS = {
    "Global": ("a seed fixes an episode", "with the same seed and actions differ"),
    "Hashed": ("processes", "another process computes other numbers"),
    "Forgetful": ("snapshots", "continues differently after random steps"),
    "Scalar": ("rewards", "compute_reward over rows differs"),
    "Solved": ("goal not observed", "the dynamics depend on the goal"),
    "Impossible": ("difficulty", "the expert solves only 0%"),
    "Lenient": ("invalid actions", "NaN: the action is accepted"),
    "Unstable": ("values", "step 31: entry 'observation' is not finite"),
    "Blind": ("images", "the goal looks like the start"),
    "Leaky": ("splits", "a layout of the training split"),
    "Broken": ("starts", "the mesh file is missing"),
    "Falls": ("values", "the solver gave up (bad_worlds.py:"),
    "AddsReward": ("step", "returns reward 10.0 in a success state, compute_reward 0.0"),
    "Terminates": ("step", "ends the episode in a success state (terminated=True)"),
    "TruncatesEarly": ("step", "truncated is True, but the budget is 50"),
    "ViolatesInStep": ("step", "info['violation'] is True, _violated() returns False"),
    "SmoothsActions": ("step", "step() and advance() lead to different observations"),
    "ClipsInPlace": ("step", "step() changes the action that it is given"),
    "MutatesGoals": ("rewards", "compute_reward changes the goals"),
    "RowsOnly": ("rewards", "distance fails for goals [2, 3, 2] and [2]"),
    "ImaginesWrongly": ("imagined goals", "imagine_goals differs from stepping by"),
    "SeesGoal": ("goal not observed", "'observation' depends on the goal"),
    "DrawsGoal": ("goal not observed", "'pixels' depends on the goal"),
    "MovesWhenSeen": ("copies", "differs when the same state is observed a second time"),
    "SingleFloats": (
        "starts",
        "'observation' is not in its space: got float32(2,), expected float64",
    ),
    "WrongSize": (
        "starts",
        "'observation' is not in its space: got float64(3,), expected float64(2,)",
    ),
    "ViewOfObservation": ("copies", "'observation' of the observation after step 0 is a view"),
    "ViewOfGoal": ("starts", "_achieved_goal() returns a view of an internal array"),
    "ReturnsInternal": ("copies", "it is an internal array"),
    "AliasedDraw": ("copies", "the start of the EpisodeDraw changed"),
    "WearsOut": ("long use", "differs from a new one after 40 episodes"),
    "SharedState": ("instances", "two instances in one process affect each other"),
    "ForgetsSuccess": ("snapshots", "steps of the expert"),
    "AlwaysSeeds": ("a seed fixes an episode", "reset() without a seed repeats an episode"),
    "IgnoresStratum": ("episodes", "the strata near, far give the same episodes"),
    "NoReference": ("episodes", "reference_steps must be an integer of at least 1, got 10.0"),
    "StartsInZone": ("episodes", "starts in a violation"),
    "NeverFinds": ("starts", "in _draw_episode"),
    "AssertsBarely": ("images", "AssertionError without a message (bad_worlds.py:"),
    "FixedFrame": ("images", "_frame(48) returns uint8(64, 64, 3), expected uint8(48, 48, 3)"),
    "SharedFrame": ("images", "a frame of size 128 changed when later frames were drawn"),
    "KeepsVariation": ("variations", "factor 'shade' is not undone"),
    "KeepsEvent": ("events", "event 'teleport' is not undone"),
    "WrongDefaultMass": ("variations", "the MuJoCo model differs after it"),
    "WrongTime": ("simulated time", "control_dt is 0.1 s, but a control step simulates 0.05 s"),
    "Explodes": ("stability", "The simulation is unstable"),
    "DeadActuator": ("action dimensions", "entry 1 of the action has no effect in 10 steps"),
    "TinyWorld-GlobalRandom": ("behaviours", "'random' acts differently when it is repeated"),
    "TinyWorld-HashRandom": ("behaviours", "'random' acts differently in another process"),
    "TinyWorld-Meddler": ("behaviours", "'random' changes the environment"),
    "TinyWorld-Rememberer": ("behaviours", "'random' acts differently after another episode"),
    "TinyWorld-Rude": ("behaviours", "within [-1.0, -1.0] to [1.0, 1.0]"),
    "TinyWorld-Winner": ("difficulty", "'random' is as successful as the expert"),
    "TinyWorld-Absent": (
        "starts",
        "'random' cannot be made from 'bad_behaviours:Absent'",
    ),
}


def find_failures(card):
    return {check.name: check for check in card.checks if not check.passed}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_environment_passes(name):
    card = check_env(f"bad/{name}-v0", num_episodes=3)
    assert card.passed, card.text()
    assert [check.name for check in card.checks] == [check.name for check in CHECKS]
    assert card.rates["expert"]["far"] == 1.0 and card.rates["hold-still"]["near"] == 0.0
    assert card.speeds["steps/s"] > 0
    lines = card.text().splitlines()
    assert lines[-len(card.rates) - 1].split() == "success held in 3 test episodes near far".split()
    assert lines[-1].split() == ["expert", "100", "%", "100", "%"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_with_advice(name):
    check, message = FAULTS[name]
    card = check_env(
        f"bad/{name}-v0",
        num_episodes=3,
        only=[check],
        time_limit=1.0 if name == "NeverFinds" else 60.0,
    )
    failures = find_failures(card)
    assert check in failures, card.text()
    assert message in failures[check].message
    assert failures[check].advice and "NOT SOUND" in card.text()


def test_every_bad_environment_is_tested():
    behaviours = {f"TinyWorld-{name}" for name in bad_worlds.BEHAVIOURS}
    assert {*FAULTS, *SOUND} == {*bad_worlds.WORLDS, *behaviours}


def test_an_environment_that_cannot_be_made_gives_one_failed_check():
    card = check_env("bad/Broken-v0")
    assert [*find_failures(card)] == ["starts"] and len(card.checks) == 1
    assert card.fingerprint == "" and "envs.make" in card.text()


def test_a_step_that_raises_fails_its_checks_and_does_not_stop_the_others():
    card = check_env("bad/Falls-v0", num_episodes=1)
    assert len(card.checks) == len(CHECKS)
    assert {"values", "snapshots", "rewards", "difficulty", "speed"} <= set(find_failures(card))


def test_endless_loop_is_interrupted_and_ends_checks():
    card = check_env("bad/NeverFinds-v0", time_limit=1.0)
    assert len(card.checks) == 1 and card.fingerprint == ""
    assert "no result within 1 s" in card.checks[0].message
    assert "Bound every loop" in card.checks[0].advice


def test_an_id_without_a_version_is_reported():
    (check,) = check_env("bad/Unversioned").checks
    assert "has no version" in check.message and "bad/Unversioned-v0" in check.advice


def test_warnings_of_mujoco_are_recorded_and_the_handler_is_restored():
    before = mujoco.get_mju_user_warning()
    check_env("bad/Explodes-v0", num_episodes=1, only=["values"])
    assert mujoco.get_mju_user_warning() is before


def test_unknown_names_and_numbers_out_of_range_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean"):
        check_env("jepabench/TwoRom-v1")
    with pytest.raises(UnknownNameError, match="Did you mean 'snapshots'"):
        check_env("bad/TinyWorld-v0", only=["snapshot"])
    with pytest.raises(ValueError, match="at least 1"):
        check_env("jepabench/TwoRoom-v1", num_episodes=0)
    with pytest.raises(ValueError, match="above 0"):
        check_env("jepabench/TwoRoom-v1", time_limit=0.0)


def test_the_fingerprint_changes_with_physics_and_images_only(monkeypatch):
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


def test_rounded_digests_ignore_rounding_errors_only():
    def compute(value, **kwargs):
        return digest([{"observation": np.array([value])}], **kwargs)

    assert compute(0.1 + 0.2, decimals=6) == compute(0.3, decimals=6)
    assert compute(0.3, decimals=6) != compute(0.30001, decimals=6)
    assert compute(-1e-12, decimals=6) == compute(0.0, decimals=6)
    assert compute(0.1 + 0.2) != compute(0.3)
