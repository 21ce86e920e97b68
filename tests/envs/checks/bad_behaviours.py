"""Behaviours that each violate one requirement."""

import numpy as np
from tiny_world import Expert, Random


class GlobalRandom(Random):
    def act(self, observation):
        return np.random.uniform(-1, 1, 2).astype(np.float32)  # noqa: NPY002


class HashRandom(Random):
    def act(self, observation):
        return np.full(2, hash("another in each process") % 1000 / 1000, np.float32)


class Meddler(Random):
    def reset(self, env, rng):
        super().reset(env, rng)
        self.env = env

    def act(self, observation):
        action = super().act(observation)
        self.env.step(action)  # tries the action in the environment that it acts in
        return action


class Rememberer(Random):
    num_actions = 0

    def act(self, observation):
        self.num_actions += 1
        return np.full(2, min(1.0, self.num_actions / 100), np.float32)


class Rude(Random):
    def act(self, observation):
        return 2 * super().act(observation)


class Winner(Expert):
    """Solves the task as well as the expert does."""
