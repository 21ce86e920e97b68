"""Agents of unknown origin; most run only in processes of their own."""

import os
import signal
import time

import numpy as np


class Base:
    observation_keys = ("achieved_goal", "desired_goal")

    def __init__(self, *, task_id):
        self.task_id = task_id

    def reset(self, specs):
        self.count = len(specs)

    def act(self, observations, active):
        way = observations["desired_goal"] - observations["achieved_goal"]
        return np.clip(4 * way, -1, 1).astype(np.float32)

    @property
    def model_steps(self):
        return np.zeros(self.count, np.int64)


class Honest(Base):
    """Steers straight at the goal that it is shown."""


class Looker(Base):
    """Observes nothing, and plays each episode in a world of its own, made from the episode's
    seed.
    """

    observation_keys = ()

    def reset(self, specs):
        from jepabench import envs
        from jepabench.envs.splits import reset_to

        super().reset(specs)
        self.worlds = [envs.make(self.task_id) for _ in specs]
        self.seen = [
            reset_to(world, spec)[0] for world, spec in zip(self.worlds, specs, strict=True)
        ]

    def act(self, observations, active):
        keys = Base.observation_keys
        actions = super().act(
            {key: np.stack([seen[key] for seen in self.seen]) for key in keys}, active
        )
        for row, world in enumerate(self.worlds):
            if active[row]:
                self.seen[row] = world.step(actions[row])[0]
        return actions


class Grower(Base):
    """Reports no model steps where nobody watches, and many in a re-run."""

    @property
    def model_steps(self):
        inside = os.environ.get("USER") == "agent"
        return np.full(self.count, 1000 if inside else 0, np.int64)


class Waiter(Base):
    """Waits in a re-run, as any agent does on a busy machine."""

    def act(self, observations, active):
        if os.environ.get("USER") == "agent":
            self.spend(0.006 * len(active))
        return super().act(observations, active)

    def spend(self, seconds):
        time.sleep(seconds)


class Thinker(Waiter):
    """Plans for longer in a re-run than declared."""

    def spend(self, seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass


class Delegator(Thinker):
    """Leaves the planning to a child whose processor time is not added to its own."""

    def spend(self, seconds):
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        child = os.fork()
        if child == 0:
            super().spend(seconds)
            os._exit(0)
        try:
            os.waitpid(child, 0)
        except ChildProcessError:
            pass


class Counter(Base):
    """Reports more model steps than any agent can take."""

    @property
    def model_steps(self):
        return np.full(self.count, 2**62 - 1, np.int64)


class Glutton(Base):
    def reset(self, specs):
        self.all = np.ones((8 << 30) // 8)


class Silent(Base):
    def reset(self, specs):
        time.sleep(60)


class Endless(Base):
    def reset(self, specs):
        while True:
            pass


class Talkative(Base):
    @property
    def model_steps(self):
        return np.zeros(100_000, np.int64)


class Forger(Base):
    """Writes into every open file in place of its process."""

    def reset(self, specs):
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"\xff" * 64)
            except OSError:
                pass
        os._exit(0)
