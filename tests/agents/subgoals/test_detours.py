"""Test detours: every leg avoids the zone, and the last one ends at the goal."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jepabench.agents.guardrails.hazards import ZoneHazard
from jepabench.agents.subgoals.detours import Detours
from jepabench.world_models.analysis.probes import fit_linear

ZONE, CLEARANCE = (-0.5, -0.25, 0.5, 0.25), 0.05
_grid = np.stack(np.meshgrid(np.linspace(-1, 1, 81), np.linspace(-1, 1, 81)), -1).reshape(-1, 2)
PLACES = torch.from_numpy(_grid).float()
places = st.tuples(st.floats(-1, 1), st.floats(-1, 1))


def latent(place):
    return torch.tensor([*place, 0.0, 0.0])


@pytest.fixture(scope="module")
def hazard():
    seen = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return ZoneHazard(fit_linear(seen, seen[:, :2], regularisation=1e-9), torch.tensor([ZONE]))


@pytest.fixture(scope="module")
def detours(hazard):
    return Detours(
        hazard, torch.cat([PLACES, torch.zeros(len(PLACES), 2)], dim=1), PLACES, clearance=CLEARANCE
    )


def outside(hazard, place):
    return -float(hazard(latent(place)[None], latent(place)[None]))


@settings(max_examples=60, deadline=None)
@given(start=places, goal=places)
def test_all_legs_avoid_the_zone_and_end_at_the_goal(hazard, detours, start, goal):
    kept = min(CLEARANCE, outside(hazard, start), outside(hazard, goal))
    assume(kept > 0)
    here, there = latent(start), latent(goal)
    for _ in range(4):
        subgoal = detours.choose(0, here, there)
        # Subgoals are taken from a grid of .025, so a leg may come as much nearer.
        assert float(hazard(here[None], subgoal[None])) <= 0.025 - min(kept, CLEARANCE)
        here = subgoal
        if subgoal is there:
            return
    pytest.fail(f"The goal is not come to: {start} to {goal}, now at {here}.")


def test_an_agent_inside_a_zone_leaves_by_the_nearest_side(detours):
    subgoal = detours.choose(0, latent((0.1, 0.2)), latent((0.0, -0.9)))
    assert subgoal[0] == pytest.approx(0.1, abs=0.02) and subgoal[1] == pytest.approx(
        0.25 + 2 * CLEARANCE, abs=0.02
    )


def test_without_obstacles_the_goal_is_pursued_directly(detours):
    there = latent((0.9, 0.8))
    assert detours.choose(0, latent((-0.9, 0.8)), there) is there
    assert detours.model_steps.tolist() == []
    with pytest.raises(ValueError, match="clearance"):
        Detours(detours.hazard, detours.goals, detours.places, clearance=-1.0)
