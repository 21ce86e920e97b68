"""Environments as other packages have them, for the tests of the adapters.

None knows of this suite.
"""

import gymnasium
import numpy as np
from gymnasium import spaces

REACH = 0.1


class Square(gymnasium.Env):
    """A point in a square with wind, without a simulator; its frames are not square."""

    metadata = {"render_modes": ["rgb_array"]}
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float64)
    observation_space = spaces.Dict(
        {
            name: spaces.Box(-2.0, 2.0, (2,), np.float32)
            for name in ("observation", "achieved_goal", "desired_goal")
        }
    )

    def __init__(self, render_mode=None, reward="sparse"):
        self.render_mode, self.reward = render_mode, reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-1.0, 1.0, (2, 2))
        return self._look(), {}

    def step(self, action):
        self.place = (self.place + 0.1 * action + 0.01 * self.np_random.normal(size=2)).clip(
            -1.0, 1.0
        )
        reward = self.compute_reward(self.place, self.goal, {})
        return self._look(), reward, bool(np.abs(self.place).max() == 1.0), False, {}

    def compute_reward(self, achieved_goal, desired_goal, info):
        distance = np.linalg.norm(achieved_goal - desired_goal, axis=-1)
        return -distance if self.reward == "dense" else -(distance > REACH).astype(np.float32)

    def render(self):
        frame = np.zeros((100, 140, 3), np.uint8)
        column, row = (20 + 49 * (self.place + 1.0)).astype(int)
        frame[max(row - 20, 0) : row, column : column + 20] = 255
        return frame

    def _look(self):
        place = self.place.astype(np.float32)
        return {
            "observation": place,
            "achieved_goal": place,
            "desired_goal": self.goal.astype(np.float32),
        }


class OnePair(Square):
    """Its reward takes one pair of goals only."""

    def compute_reward(self, achieved_goal, desired_goal, info):
        return 0.0 if float(np.hypot(*(achieved_goal - desired_goal))) <= REACH else -1.0


class Flat(Square):
    """Has no goals in its observation."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)


class Buttons(Square):
    """Has actions that are not numbers."""

    action_space = spaces.Discrete(4)


class FailsToStart(Square):
    """Asserts without a message, as Fetch does with a MuJoCo that it does not support."""

    def reset(self, *, seed=None, options=None):
        assert not self.metadata, ""
        return super().reset(seed=seed)


class Straight:
    """Goes to the goal."""

    def reset(self, env, rng):
        pass

    def act(self, observation):
        return (
            ((observation["desired_goal"] - observation["achieved_goal"]) * 10.0)
            .clip(-1.0, 1.0)
            .astype(np.float32)
        )


def half_way(env, rng):
    """A goal function that forgets the seed."""
    return env.reset()[0]


for _world in (Square, OnePair, Flat, Buttons, FailsToStart):
    gymnasium.register(
        id=f"foreign/{_world.__name__}-v0", entry_point=f"foreign_worlds:{_world.__name__}"
    )
