"""Makes pusht_traces.npz: what gym-pusht does under fixed actions, for test_pusht_simulation.py to
compare with.

gym-pusht asks for a pymunk below 7, so it runs in an environment of its own:

    python -m venv gym-pusht-venv && gym-pusht-venv/bin/pip install gym-pusht==0.1.8
    gym-pusht-venv/bin/python tests/envs/pusht/make_pusht_traces.py

The file holds, for each of N traces: starts   [N, 7]            pusher x, y [px], its velocity x, y
    [px/s], block x, y [px], block angle [rad] after reset actions  [N, 1000, 2]      absolute
    targets of the pusher [px], float32 states   [N, 200, 7]       as starts, after every fifth
    action versions                   of gym-pusht and pymunk
"""

from importlib.metadata import version
from pathlib import Path

import gym_pusht  # noqa: F401  (registers the environment)
import gymnasium
import numpy as np

NUM_ACTIONS, EVERY = 1000, 5
FILE = Path(__file__).with_name("pusht_traces.npz")


def anywhere(rng, block):
    """A target anywhere in the workspace, as the action space samples them."""
    return rng.uniform(0, 512, 2)


def near_block(rng, block):
    """A target near the block, so that it is pushed all the time."""
    return np.clip(block + rng.normal(0, 60, 2), 0, 512)


def state_of(env):
    return [*env.agent.position, *env.agent.velocity, *env.block.position, env.block.angle]


def trace(seed, choose):
    env = gymnasium.make("gym_pusht/PushT-v0").unwrapped
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    start, actions, states = state_of(env), [], []
    for step in range(NUM_ACTIONS):
        actions.append(np.float32(choose(rng, np.array(env.block.position))))
        env.step(actions[-1].astype(np.float64))
        if (step + 1) % EVERY == 0:
            states.append(state_of(env))
    return start, actions, states


if __name__ == "__main__":
    traces = [trace(seed, choose) for choose in (anywhere, near_block) for seed in range(4)]
    starts, actions, states = (np.array(part) for part in zip(*traces, strict=True))
    versions = [f"{name} {version(name)}" for name in ("gym-pusht", "pymunk")]
    np.savez_compressed(FILE, starts=starts, actions=actions, states=states, versions=versions)
