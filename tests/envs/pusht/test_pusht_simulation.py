"""Compare the physics of Push-T with gym-pusht, and restore states exactly."""

from pathlib import Path

import numpy as np
import pymunk
import pytest

from jepabench.envs.pusht.placing import free_placement
from jepabench.envs.pusht.shapes import SHAPES, TRAIN_SHAPES, T, plate
from jepabench.envs.pusht.simulation import SIZE, PushSimulation, drive

TRACES = np.load(Path(__file__).parent / "pusht_traces.npz")
NUM_TRACES = len(TRACES["starts"])
EVERY = TRACES["actions"].shape[1] // TRACES["states"].shape[1]

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


def pushed(simulation, targets):
    """Takes steps and returns where everything is after each."""
    placements = []
    for x, y in np.asarray(targets, np.float64).tolist():
        simulation.step(x, y)
        placements.append(simulation.placement)
    return np.array(placements)


def targets_near(simulation, rng, num_steps):
    """Targets that keep a pusher at the block, from walls and into corners too."""
    return np.clip(
        np.array(simulation.block[:2]) + rng.normal(0.0, 70.0, (num_steps, 2)), 0.0, SIZE
    )


def placed(shape=T, *, seed=0, friction=0.0):
    simulation = PushSimulation(shape, friction=friction)
    simulation.place(free_placement(np.random.default_rng(seed), shape))
    return simulation


# -- the published physics -------------------------------------------------------------------------


@pytest.mark.parametrize("trace", range(NUM_TRACES))
def test_a_thousand_random_actions_agree_with_gym_pusht(trace):
    simulation = PushSimulation()
    simulation.place(TRACES["starts"][trace])
    placements = pushed(simulation, TRACES["actions"][trace])[EVERY - 1 :: EVERY]
    expected = TRACES["states"][trace]
    assert len(TRACES["actions"][trace]) == 1000
    assert (
        np.abs(placements - expected).max() < 1e-9
    )  # 1e-3 px is asked for; on the processor of the trace it is 0
    assert np.abs(np.diff(expected[:, 4:6], axis=0)).sum() > 200.0


def test_the_pusher_moves_as_in_chipmunk():
    simulation = placed()
    for target in np.random.default_rng(0).uniform(0.0, SIZE, (50, 2)).tolist():
        simulation.step(*target)
        assert simulation.pusher == tuple(simulation._pusher.position)


def test_the_pusher_approaches_its_target_without_overshoot():
    position, velocity, way = 0.0, 0.0, []
    for _ in range(20):
        position, velocity, velocities = drive(position, velocity, 100.0)
        way.append(position)
        assert len(velocities) == 10
    assert (np.diff(way) > 0.0).all()
    assert way[-1] == pytest.approx(100.0, abs=0.01)


def test_a_block_that_is_not_pushed_stays():
    simulation = placed()
    block = simulation.block
    simulation.step(*simulation.pusher)
    assert simulation.block == block


@every_shape
def test_an_object_is_placed_at_the_requested_position(shape):
    simulation = PushSimulation(shape)
    for seed in range(5):
        placement = free_placement(np.random.default_rng(seed), shape)
        placement[2:4] = 3.0, -4.0
        simulation.place(placement)
        np.testing.assert_allclose(simulation.placement, placement, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "shape", [shape for shape in SHAPES if shape is not T], ids=lambda shape: shape.name
)
def test_plate_centre_and_moment_agree_with_pymunk(shape):
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in shape.boxes]
    corners = shape.corners.tolist()
    moment = sum(
        pymunk.moment_for_poly(area / sum(areas), box)
        for area, box in zip(areas, corners, strict=True)
    )
    body = pymunk.Body()
    centres = [pymunk.Poly(body, box).center_of_gravity for box in corners]
    assert np.average(centres, axis=0, weights=areas) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert shape.moment == pytest.approx(moment)


def test_a_larger_block_is_the_same_block():
    double = plate("double L", (0, 0, 60, 240), (60, 180, 180, 240))
    scaled = TRAIN_SHAPES[1].scaled(2.0)
    np.testing.assert_allclose(scaled.corners, double.corners)
    assert scaled.moment == pytest.approx(double.moment)


def test_friction_changes_where_a_push_leads():
    ways = []
    for friction in (0.0, 0.3, 1.0):
        simulation = placed(seed=3, friction=friction)
        ways.append(
            pushed(simulation, targets_near(simulation, np.random.default_rng(0), 40))[:, 4:6]
        )
    assert np.abs(np.diff(ways, axis=0)).max(axis=(1, 2)).min() > 1.0


# -- states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_restored_state_continues_exactly(seed):
    rng = np.random.default_rng(seed)
    shape, friction = SHAPES[rng.integers(len(SHAPES))], float(rng.choice([0.0, 0.5]))
    simulation = placed(shape, seed=seed, friction=friction)
    pushed(simulation, targets_near(simulation, rng, 60))
    state = simulation.get_state()
    targets = targets_near(simulation, rng, 60)
    expected = pushed(simulation, targets)
    used = placed(shape, seed=seed + 100, friction=friction)
    pushed(used, targets_near(used, rng, 25))
    for other in (simulation, used, PushSimulation(shape, friction=friction)):
        other.set_state(state)
        assert np.array_equal(other.get_state(), state)
        assert np.array_equal(pushed(other, targets), expected)
    assert np.abs(expected[-1, 4:6] - expected[0, 4:6]).max() > 1.0


def test_states_can_be_restored_in_any_order():
    simulation = placed()
    states, placements = [simulation.get_state()], [simulation.placement]
    for target in targets_near(simulation, np.random.default_rng(0), 20).tolist():
        simulation.step(*target)
        states.append(simulation.get_state())
        placements.append(simulation.placement)
    other = PushSimulation()
    for index in (20, 3, 4, 12, 12, 0, 20):
        other.set_state(states[index])
        assert np.array_equal(other.placement, placements[index])


def test_a_placed_state_does_not_depend_on_the_past():
    fresh, used = placed(seed=5), placed(seed=6)
    pushed(used, targets_near(used, np.random.default_rng(1), 80))
    used.place(fresh.placement)
    targets = targets_near(fresh, np.random.default_rng(2), 40)
    assert np.array_equal(pushed(used, targets), pushed(fresh, targets))


def test_outcomes_agree_with_stepping_and_leave_the_world_unchanged():
    simulation, rng = placed(), np.random.default_rng(0)
    pushed(simulation, targets_near(simulation, rng, 30))
    before, targets = (
        simulation.get_state(),
        np.stack([targets_near(simulation, rng, 6) for _ in range(3)]),
    )
    position, velocity, ways = (
        np.tile(simulation.pusher, (3, 1)),
        np.tile(simulation.pusher_velocity, (3, 1)),
        [],
    )
    for step in range(6):
        position, velocity, way = drive(position, velocity, targets[:, step])
        ways += way
    outcomes = simulation.outcomes(np.stack(ways, axis=1).reshape(3, 2, 30, 2))
    assert np.array_equal(simulation.get_state(), before)
    expected = []
    for plan in targets:
        simulation.set_state(before)
        expected.append(pushed(simulation, plan)[2::3, 4:])
    assert np.array_equal(outcomes, expected)


@pytest.mark.parametrize("shape", [(6,), (8,), (1, 7), ()])
def test_a_state_of_the_wrong_shape_is_refused(shape):
    simulation = placed()
    before = simulation.get_state()
    with pytest.raises(ValueError, match=r"A state must have shape \[7 \+ 2 \* steps\], got"):
        simulation.set_state(np.zeros(shape))
    assert np.array_equal(simulation.get_state(), before)
