"""Seeded episode specifications.

The seed of an episode is a hash of its task, split, stratum and index (protocol, section 1.1).
Splits are therefore disjoint, and private episodes cannot be predicted without their salt.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any

from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import check_task_id, get_task
from jepabench.envs.task import SPLITS


@dataclass(frozen=True, slots=True)
class EpisodeSpec:
    """The name of one episode. It determines start, goal, world and planner noise.

    Attributes:
        task_id: Versioned task id.
        split: One of ``SPLITS``.
        stratum: Distance stratum of the task.
        index: 0, 1, 2, ... within task, split and stratum.
        salt: Secret of the private split, empty for the others. It is never shown or stored.
        noise_stream: Number of the planner's noise stream. It changes ``planner_seed`` and nothing
            else, so the share of planner noise in the variance of results can be measured.

    Raises:
        UnknownNameError: The split is unknown.
        ValueError: The salt does not fit the split, the index or the noise stream is negative, or
            the id is not plain.
    """

    task_id: str
    split: str
    stratum: str
    index: int
    salt: bytes = field(default=b"", repr=False, compare=False)
    noise_stream: int = 0

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise unknown_name("split", self.split, SPLITS)
        if (self.split == "private") != bool(self.salt):
            raise ValueError("The private split needs a salt, and only the private split has one.")
        check_task_id(self.task_id)  # specs are made from rows of files, and worlds from specs
        if self.index < 0:
            raise ValueError(f"An episode index must be at least 0, got {self.index}.")
        if self.noise_stream < 0:
            raise ValueError(f"A noise stream must be at least 0, got {self.noise_stream}.")

    @property
    def key(self) -> str:
        """Name of the episode in files and tables; the same for all noise streams."""
        return f"{self.task_id}|{self.split}|{self.stratum}|{self.index}"

    @property
    def seed(self) -> int:
        """Seed of the world: 63 bits of SHA-256 (HMAC-SHA-256 with the salt) of the key."""
        return self._digest("world")

    @property
    def planner_seed(self) -> int:
        """Seed of all random choices of an agent in this episode; the same for all agents."""
        stream = f"|{self.noise_stream}" if self.noise_stream else ""
        return self._digest(f"planner{stream}")

    @property
    def options(self) -> dict[str, Any]:
        """The ``options`` of ``GoalEnv.reset`` that belong to the seed."""
        return {"stratum": self.stratum, "split": self.split}

    def _digest(self, purpose: str) -> int:
        message = f"{self.key}|{purpose}".encode()
        digest = (
            hmac.new(self.salt, message, hashlib.sha256).digest()
            if self.salt
            else hashlib.sha256(message).digest()
        )
        return int.from_bytes(digest[:8], "big") >> 1


def episode_specs(
    task_id: str,
    split: str,
    num_episodes: int,
    *,
    strata: tuple[str, ...] | None = None,
    salt: bytes = b"",
    noise_stream: int = 0,
) -> list[EpisodeSpec]:
    """Return ``num_episodes`` specs for each stratum, in the order of the strata."""
    spec = get_task(task_id)
    strata = strata or spec.strata
    for stratum in strata:
        if stratum not in spec.strata:
            raise unknown_name(f"stratum of {spec.id}", stratum, spec.strata)
    return [
        EpisodeSpec(spec.id, split, stratum, index, salt, noise_stream)
        for stratum in strata
        for index in range(num_episodes)
    ]


def reset_to(
    env: GoalEnv, spec: EpisodeSpec, *, variation: Any = None
) -> tuple[Observation, dict[str, Any]]:
    """Start the episode that ``spec`` names, optionally with a variation of the world."""
    options = spec.options if variation is None else spec.options | {"variation": variation}
    return env.reset(seed=spec.seed, options=options)
