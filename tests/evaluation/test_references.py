import pytest

from jepabench.envs.registry import UnknownNameError
from jepabench.evaluation.references import (
    CEILINGS,
    FLOOR,
    PINNED_ACTIONS,
    REFERENCES,
    ReservedNameError,
    Track,
    classify_agent,
    is_reference,
    load_pins,
    pin_reference,
)
from jepabench.pipeline.config import load_preset, options

PIXELS = {"observation": "pixels", "data": "offline reward-free", "privilege": "none"}
BLIND = {"observation": "none", "data": "none", "privilege": "none"}
TRUE = {"observation": "state", "data": "none", "privilege": "simulator"}


def test_the_kind_of_an_agent_follows_from_its_track():
    assert classify_agent("oracle-of-mine", PIXELS) == "learned"
    assert classify_agent("jepa", TRUE) == "ceiling"
    assert classify_agent("a-script", BLIND) == "floor"
    assert classify_agent("open-loop", {**BLIND, "data": "online"}) == "learned"


def test_without_a_track_only_reserved_names_are_references():
    assert [
        classify_agent(name) for name in ("random", "expert", "expert-2", "random-shooting")
    ] == [
        "floor",
        "ceiling",
        "learned",
        "learned",
    ]


@pytest.mark.parametrize("name", ["random", "Oracle-CEM", "oracle_cem", "hold-still", "expert"])
def test_a_reserved_name_needs_the_track_of_the_reference(name):
    with pytest.raises(ReservedNameError, match="Rename the agent"):
        classify_agent(name, PIXELS)


@pytest.mark.parametrize(
    ("key", "value"), [("observation", "pixel"), ("data", "offline"), ("privilege", "some")]
)
def test_tracks_are_closed_lists(key, value):
    with pytest.raises(UnknownNameError):
        Track.from_config({**PIXELS, key: value})
    with pytest.raises(UnknownNameError):
        Track.from_config({**PIXELS, "speed": "high"})
    with pytest.raises(ValueError, match=f"missing: {key}"):
        Track.from_config({name: PIXELS[name] for name in PIXELS if name != key})


def test_an_unpinned_row_with_a_reference_name_is_not_a_reference():
    digest = PINNED_ACTIONS["quick", 2]["random"]
    assert is_reference("random", digest, ("quick", 2))
    assert not is_reference("random", "0" * 64, ("quick", 2))
    assert not is_reference("seeker", digest, ("quick", 2))
    assert not is_reference("random", digest, ("quick", 1))


def test_a_pinned_row_is_a_reference(tmp_path):
    path = tmp_path / "pins.json"
    pin_reference("random", "a" * 64, ("core", 12), path)
    pin_reference("oracle-cem", "b" * 64, ("core", 12), path)
    pin_reference("random", "c" * 64, ("core", 12), path)
    pinned = load_pins(path)
    assert pinned == {("core", 12): {"random": "c" * 64, "oracle-cem": "b" * 64}}
    assert is_reference("random", "c" * 64, ("core", 12), pinned)
    with pytest.raises(UnknownNameError):
        pin_reference("seeker", "d" * 64, ("core", 12), path)


def test_every_preset_has_a_track_and_the_references_have_theirs():
    kinds = {}
    for name in options("agent"):
        preset = load_preset("agent", name)
        kinds[name] = classify_agent(name, preset["track"])
    assert {name for name, kind in kinds.items() if kind != "learned"} == set(REFERENCES)
    assert {FLOOR, *CEILINGS} <= set(REFERENCES)
