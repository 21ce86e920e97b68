"""What the checks share: the task under test, findings, and where in the code an error arose."""

from __future__ import annotations

import inspect
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gymnasium import spaces

from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.registry import make
from jepabench.envs.splits import EpisodeSpec, episode_specs
from jepabench.envs.task import TaskSpec, load_entry_point

_SALT = b"checker"


class CheckFailed(Exception):  # noqa: N818  (reads as a sentence where it is raised)
    """An environment breaks its contract.

    Attributes:
        advice: How to fix it; empty for the general advice of the check.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Subject:
    """The task under test, and what the checks measure of it.

    Attributes:
        task: The task.
        num_episodes: Number of test episodes per policy and stratum.
        rates: Success rates by policy and stratum.
        speeds: Rates by what was done [1/s].
        simulator_warnings: Warnings that MuJoCo gave during the checks.
    """

    task: TaskSpec
    num_episodes: int
    rates: dict[str, dict[str, float]] = field(default_factory=dict)
    speeds: dict[str, float] = field(default_factory=dict)
    simulator_warnings: list[str] = field(default_factory=list)

    def make(self, **kwargs: Any) -> GoalEnv:
        """Return a new instance of the environment."""
        return make(self.task.id, **kwargs)

    def specs(self, stratum: str, *, split: str = "test") -> list[EpisodeSpec]:
        """Return the specs of the episodes of one stratum."""
        salt = _SALT if split == "private" else b""
        return episode_specs(self.task.id, split, self.num_episodes, strata=(stratum,), salt=salt)

    @property
    def best_behaviour(self) -> str:
        """The expert, or the default behaviour of a task without one."""
        return "expert" if "expert" in self.task.behaviours else self.task.default_behaviour


def require(condition: bool, message: str, advice: str = "") -> None:
    """Raise ``CheckFailed`` unless a condition holds."""
    if not condition:
        raise CheckFailed(message, advice)


def require_in_space(space: spaces.Dict, observation: Observation, when: str) -> None:
    """Raise ``CheckFailed`` that names the first entry that differs from its space."""
    if missing := sorted(set(space.spaces) ^ set(observation)):
        raise CheckFailed(
            f"{when}: the observation has the entries {sorted(observation)}, "
            f"its space has {sorted(space.spaces)}; they differ in {', '.join(missing)}."
        )
    for name, box in space.spaces.items():
        value = observation[name]
        found = f"{getattr(value, 'dtype', type(value).__name__)}{getattr(value, 'shape', '')}"
        expected = f"{box.dtype}{box.shape}"
        require(
            found == expected,
            f"{when}: entry {name!r} is not in its space: got {found}, expected {expected}.",
            "Return arrays of the declared size and type; see observation_size and goal_size.",
        )
        require(box.contains(value), f"{when}: entry {name!r} is out of the bounds of its space.")


def describe_error(error: BaseException, task: TaskSpec) -> str:
    """Return an error with the place in the environment's own code where it arose."""
    kind = type(error).__name__
    text = f"{kind}: {error}" if str(error) else f"{kind} without a message"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent in _find_folders(task)]
    if not frames:
        return text
    frame = (own or frames)[-1]
    line = "" if (frame.line or "raise").startswith("raise") else f": {frame.line}"
    return f"{text} ({Path(frame.filename).name}:{frame.lineno} in {frame.name}{line})"


def _find_folders(task: TaskSpec) -> set[Path]:
    """Return the folders that hold the code of the environment and its behaviours."""
    folders = set()
    for entry_point in (task.entry_point, *task.behaviours.values()):
        try:
            folders.add(Path(inspect.getfile(load_entry_point(entry_point))).parent)
        except (ImportError, AttributeError, TypeError, ValueError, OSError):
            continue
    return folders
