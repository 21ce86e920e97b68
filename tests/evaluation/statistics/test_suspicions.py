"""Rows whose results contradict their tracks or methods are flagged."""

import numpy as np
import pytest

from jepabench.evaluation.references import Track
from jepabench.evaluation.statistics.suspicions import Row, find_suspicions

STATE, PIXELS = (Track(seen, "offline reward-free", "none") for seen in ("state", "pixels"))
ORACLE = Track("state", "none", "simulator")


def row(name, track, rate, *, agent="", strata=("near",), episodes=60):
    rng = np.random.default_rng([len(name), int(100 * rate)])
    outcomes = {
        ("T-v1", stratum): (rng.random((3, episodes)) < rate).astype(float) for stratum in strata
    }
    return Row(name=name, agent=agent or name, track=track, outcomes=outcomes)


def flagged(*rows):
    return {suspicion.name: suspicion.reason for suspicion in find_suspicions(rows)}


def test_plausible_tables_have_no_suspicious_row():
    rows = [row("expert", ORACLE, 0.97), row("jepa", PIXELS, 0.9), row("gcbc", STATE, 0.4)]
    assert flagged(*rows) == {}


def test_a_privileged_row_below_an_unprivileged_one_is_flagged():
    found = flagged(row("expert", ORACLE, 0.5), row("mine", PIXELS, 0.95))
    assert found == {
        "expert": "It is privileged and below mine.",
        "mine": "It is above expert, which is privileged.",
    }


def test_a_difference_within_its_interval_is_not_flagged():
    assert flagged(row("expert", ORACLE, 0.9), row("mine", PIXELS, 0.93)) == {}


@pytest.mark.parametrize(("twin", "latent"), [(0.5, 0.9), (0.9, 0.5)])
def test_an_approximation_above_the_exact_method_is_flagged(twin, latent):
    found = flagged(
        row("a", STATE, twin, agent="state-cem"), row("b", PIXELS, latent, agent="jepa-cem")
    )
    assert bool(found) == (latent > twin)
    assert not found or found["b"] == "It approximates a and is above it."


@pytest.mark.parametrize(
    ("data", "privilege", "planning_ms", "model_steps", "is_flagged"),
    [
        ("none", "none", 40.0, 0.0, True),
        ("none", "none", 40.0, 300.0, False),
        ("none", "none", 0.05, 0.0, False),
        ("none", "simulator", 40.0, 0.0, False),
        ("online", "none", 40.0, 0.0, False),
    ],
)
def test_planning_without_data_and_model_steps_is_flagged(
    data, privilege, planning_ms, model_steps, is_flagged
):
    one = Row(
        name="mine",
        agent="mine",
        track=Track("state", data, privilege),
        outcomes={},
        planning_ms=planning_ms,
        model_steps=model_steps,
    )
    found = flagged(one)
    assert ("mine" in found) == is_flagged
    assert not is_flagged or "40 ms per control step" in found["mine"]


def test_only_cells_that_both_rows_have_are_compared():
    assert flagged(row("expert", ORACLE, 0.2, strata=("far",)), row("mine", PIXELS, 0.9)) == {}
    expert = row("expert", ORACLE, 0.2, strata=("near", "far"))
    assert set(flagged(expert, row("mine", PIXELS, 0.9))) == {"expert", "mine"}
    assert flagged(row("expert", ORACLE, 0.2, episodes=20), row("mine", PIXELS, 0.9)) == {}
