"""Test the door that may be closed and looks the same when it is."""

import dataclasses

import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.checks.scripted_rollouts import play
from jepabench.envs.maze.hidden_door import DOORS

TASK = "jepabench/TwoRoom-HiddenDoor-v1"


@pytest.fixture
def world():
    env = envs.make(TASK, pixels=64, zones=())
    env.reset(seed=0, options={"stratum": "far"})
    return env


def at(world, x, y, *, coin):
    """Puts the ball somewhere, with the side that a coin shows below 0.5 or above, and returns what
    is seen.
    """
    state = world.snapshot()
    draw = dataclasses.replace(state.draw, world={"coin": np.array([coin])})
    physics = world.arena.state_at(np.array([x, y]))
    return world.restore(dataclasses.replace(state, draw=draw, world=draw.world, physics=physics))


@pytest.mark.parametrize("coin", [0.2, 0.8])
@pytest.mark.parametrize("door", DOORS)
def test_the_ball_passes_only_the_open_door(world, coin, door):
    at(world, -0.5, door, coin=coin)
    for _ in range(20):
        x, y = world.step(np.array([1.0, 0.0]))[0]["achieved_goal"]
    shut = DOORS[1] if coin < 0.5 else DOORS[0]
    assert y == pytest.approx(door, abs=1e-3)
    assert (x < -0.1) if door == shut else (x > 0.4)


def test_neither_sensors_nor_frames_reveal_the_closed_door(world):
    for x, y in ((-0.5, -0.5), (0.0, 0.7), (0.8, 0.0)):
        one, other = at(world, x, y, coin=0.1), at(world, x, y, coin=0.9)
        assert all(
            np.array_equal(one[key], other[key])
            for key in ("observation", "achieved_goal", "pixels")
        )


def test_the_coin_is_fair_and_known_to_the_expert():
    world = envs.make(TASK)
    sides, crossings = [], 0
    for spec in envs.episode_specs(TASK, "test", 40, strata=("far",)):
        assert play(world, spec, "expert").held
        sides.append(world.draw.world["coin"][0] < 0.5)
        crossings += world.draw.start[1] * world.draw.goal[1] < 0  # x; the time comes first
    assert 10 <= sum(sides) <= 30
    assert crossings > 20
