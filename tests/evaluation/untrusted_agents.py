"""Agents that a maintainer might be given; run in processes of their own only."""

import os
import socket
from pathlib import Path

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
    """Says that it sees nothing, and plays every episode in a world of its own, made from the episode's seed."""

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


class Thief(Base):
    """Tells all that it finds: secrets of other processes, a network, room on the disk."""

    def reset(self, specs):
        found = [f"salt {spec.salt.hex()}" for spec in specs]
        found += [
            path.read_bytes().decode(errors="replace")
            for path in Path("/proc").glob("[0-9]*/environ")
        ]
        try:
            socket.create_connection(
                ("127.0.0.1", int(Path(__file__).with_name("port").read_text(encoding="utf-8"))),
                timeout=5,
            )
            found.append("NETWORK")
        except OSError:
            pass
        try:
            Path("large").write_bytes(bytes(32 << 20))
            found.append("DISK")
        except OSError:
            pass
        raise RuntimeError(" ".join(found)[:2000] + f" from {os.getpid()}")


class Glutton(Base):
    def reset(self, specs):
        self.all = np.ones((8 << 30) // 8)


class Silent(Base):
    def reset(self, specs):
        import time

        time.sleep(60)


class Endless(Base):
    def reset(self, specs):
        while True:
            pass


class Talkative(Base):
    @property
    def model_steps(self):
        return [0] * 100_000


class Forger(Base):
    """Answers in the place of the process that it is in."""

    def reset(self, specs):
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"\xff" * 64)
            except OSError:
                pass
        os._exit(0)
