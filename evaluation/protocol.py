"""Suites: the tasks, strata, episodes, seeds and agents of a table. Versioned and frozen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task
from jepabench.envs.splits import EpisodeSpec, episode_specs
from jepabench.envs.task import SPLITS

PROTOCOL_VERSION = 2
CORE_EPISODES = 100  # per task and stratum, in a suite whose numbers count
QUICK_EPISODES = 20  # per task and stratum, in a demonstration
PRIVATE_EPISODES = 50  # fewest private episodes per task and stratum of a re-run
ROW_SEEDS = 3  # fewest training seeds for a row
MAX_SEED = 2**32 - 1  # the largest seed that numpy, torch and gymnasium all accept
HEADLINE_SEEDS = 5  # fewest training seeds for a headline
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class SuiteError(ValueError):
    """A suite that cannot be run; the message names the part and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTask:
    """A task of a suite.

    Attributes:
        task_id: Versioned task id.
        strata: Distance strata; empty for all strata of the task.
        num_episodes: Episodes of each stratum.
    """

    task_id: str
    strata: tuple[str, ...] = ()
    num_episodes: int = CORE_EPISODES

    def __post_init__(self) -> None:
        known = get_task(self.task_id).strata
        for stratum in self.strata:
            if stratum not in known:
                raise unknown_name(f"stratum of {self.task_id}", stratum, known)
        _refuse_repeats(f"Strata of {self.task_id}", self.strata)
        if self.num_episodes < 1:
            raise SuiteError(
                f"{self.task_id}: num_episodes must be at least 1, got {self.num_episodes}."
            )
        object.__setattr__(self, "strata", self.strata or known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Everything that two rows of one table have in common.

    Attributes:
        name: Lower-case name, also of the results folder.
        version: Raised when anything else here changes.
        tasks: Each task once.
        split: Split of the episodes; ``test`` unless the suite is used for tuning.
        agents: Names of agent configurations.
        training_seeds: Each learning agent is trained once per seed.
        protocol_version: Rules that the suite was made for.
        private_episodes: Fewest private episodes per task and stratum that a re-run needs; never
            fewer than the task's ``num_episodes``.
        description: One line.

    Raises:
        UnknownNameError: An unknown task, stratum or split; the message suggests the nearest.
        SuiteError: Anything else that is not allowed.
    """

    name: str
    version: int
    tasks: tuple[SuiteTask, ...]
    split: str = "test"
    agents: tuple[str, ...]
    training_seeds: tuple[int, ...]
    protocol_version: int = PROTOCOL_VERSION
    private_episodes: int = PRIVATE_EPISODES
    description: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SuiteError(
                "The name of a suite must consist of lower-case letters, digits, - and _, "
                f"got {self.name!r}."
            )
        if self.split not in SPLITS:
            raise unknown_name("split", self.split, SPLITS)
        if self.version < 1:
            raise SuiteError(f"Suite {self.name}: version must be at least 1, got {self.version}.")
        if self.private_episodes < 1:
            raise SuiteError(
                f"Suite {self.name}: private_episodes must be at least 1, got "
                f"{self.private_episodes}."
            )
        if self.protocol_version != PROTOCOL_VERSION:
            raise SuiteError(
                f"Suite {self.name} is made for protocol {self.protocol_version}, this is "
                f"{PROTOCOL_VERSION}. Numbers of different protocols are not compared. Run the "
                "suite with the release that it belongs to."
            )
        for name in ("tasks", "agents", "training_seeds"):
            if not getattr(self, name):
                raise SuiteError(f"Suite {self.name}: {name} is empty.")
        if min(self.training_seeds) < 0:
            raise SuiteError(
                f"Suite {self.name}: training seeds must be at least 0, "
                f"got {list(self.training_seeds)}."
            )
        _refuse_repeats("Tasks", [task.task_id for task in self.tasks])
        _refuse_repeats("Agents", self.agents)
        _refuse_repeats("Training seeds", self.training_seeds)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Suite:
        """Return the suite that a mapping (from YAML) describes; ``tasks`` is a list of mappings.

        Raises:
            SuiteError: A missing key or a value of the wrong type.
            UnknownNameError: An unknown key, task, stratum or split.
        """
        values = _checked("suite", cls, config)
        values["tasks"] = tuple(
            SuiteTask(**_checked(f"tasks[{index}] of the suite", SuiteTask, task))
            for index, task in enumerate(values["tasks"])
        )
        return cls(**values)

    def task(self, task_id: str) -> SuiteTask:
        """Return the entry of a task.

        Raises:
            UnknownNameError: The suite does not have the task.
        """
        for task in self.tasks:
            if task.task_id == task_id:
                return task
        raise unknown_name(
            f"task of suite {self.name}", task_id, [task.task_id for task in self.tasks]
        )

    def specs(self, task: str | SuiteTask, *, salt: bytes = b"") -> list[EpisodeSpec]:
        """Return the episodes of a task by stratum; with a ``salt``, those of the private split."""
        entry = self.task(task if isinstance(task, str) else task.task_id)
        split = "private" if salt else self.split
        return episode_specs(
            entry.task_id, split, entry.num_episodes, strata=entry.strata, salt=salt
        )


def _refuse_repeats(what: str, values: Sequence[Any]) -> None:
    repeated = sorted({str(value) for value in values if list(values).count(value) > 1})
    if repeated:
        raise SuiteError(f"{what} are listed more than once: {', '.join(repeated)}.")


def _checked(what: str, kind: type, config: Any) -> dict[str, Any]:
    """Return a mapping as keyword arguments of the dataclass ``kind``, with tuples for lists."""
    if not isinstance(config, Mapping):
        raise SuiteError(f"The {what} must be a mapping, got {config!r}.")
    allowed = {item.name: item for item in fields(kind)}
    for key in config:
        if key not in allowed:
            raise unknown_name(f"key of the {what}", str(key), allowed)
    missing = [
        name for name, item in allowed.items() if item.default is MISSING and name not in config
    ]
    if missing:
        raise SuiteError(f"The {what} lacks {', '.join(missing)}.")
    return {
        key: _typed(f"{key} of the {what}", str(allowed[key].type), value)
        for key, value in config.items()
    }


_KINDS: dict[str, tuple[type, str]] = {
    "str": (str, "a string"),
    "int": (int, "a whole number"),
    "tuple[str, ...]": (str, "a list of strings"),
    "tuple[int, ...]": (int, "a list of whole numbers"),
    "tuple[SuiteTask, ...]": (Mapping, "a list of mappings"),
}


def _typed(what: str, annotation: str, value: Any) -> Any:
    kind, words = _KINDS[annotation]
    many = annotation.startswith("tuple")
    items = (
        value if many and isinstance(value, Sequence) and not isinstance(value, str) else [value]
    )
    fits = (items is value) == many and all(
        isinstance(item, kind) and not isinstance(item, bool) for item in items
    )
    if not fits:
        raise SuiteError(f"The {what} must be {words}, got {value!r}.")
    return tuple(items) if many else value
