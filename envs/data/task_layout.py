"""Check shapes, ranges and rate of episodes against their task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.data.episodes import GOAL_KEYS, Episode
from jepabench.envs.data.manifest import DatasetError, Provenance
from jepabench.envs.errors import UnknownNameError
from jepabench.envs.registry import find_task, make
from jepabench.envs.task import TaskSpec

_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class TaskLayout:
    """Shapes and ranges that a task requires of its episodes.

    Attributes:
        task: The task.
        sizes: Length of each entry of the observation, by name.
        low, high: Bounds of the actions of one model step, each [actions_per_block * A].
    """

    task: TaskSpec
    sizes: dict[str, int]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @classmethod
    def find(cls, task_id: str) -> TaskLayout | None:
        """Return the layout of a task, or None if the task is not registered."""
        if not _is_registered(task_id):
            return None
        env = make(task_id)
        sizes = {key: int(np.prod(env.observation_space[key].shape or (1,))) for key in GOAL_KEYS}
        space = ActionBlock(env).action_space
        return cls(env.task, sizes, space.low, space.high)  # pyright: ignore

    def check(self, episode: Episode, number: int) -> None:
        """Check an episode.

        Args:
            episode: The episode.
            number: Its position in the dataset, for the message.

        Raises:
            DatasetError: A shape or a range differs from that of the task.
        """
        where = f"Episode {number} of {self.task.id}"
        for name, size in self.sizes.items():
            found = episode.observations[name].shape[-1]
            if found != size:
                raise DatasetError(
                    f"{where}: {name!r} has {found} numbers, but the task has {size}."
                )
        width, found = len(self.low), episode.actions.shape[-1]
        if found != width:
            num_actions = self.task.actions_per_block
            hint = ""
            if found * num_actions == width:
                hint = (
                    " They seem to be recorded at control rate. Record the environment in an "
                    "ActionBlock, or concatenate the actions of each block."
                )
            raise DatasetError(
                f"{where}: the actions have {found} numbers. A model step of the task has {width}: "
                f"{num_actions} action(s) of {width // num_actions}.{hint}"
            )
        excess = np.maximum(self.low - episode.actions, episode.actions - self.high).max()
        if excess > _ROUNDING:
            raise DatasetError(
                f"{where}: an action exceeds the bounds {self.low.tolist()} to "
                f"{self.high.tolist()} by {excess:.3g}. Scale the actions to the bounds of the "
                "task."
            )


def check_rate(provenance: Provenance) -> None:
    """Check that the rate of data is one model step of their task.

    Raises:
        DatasetError: The rate is another one.
    """
    if not _is_registered(provenance.task_id):
        return
    task = find_task(provenance.task_id)
    for name in ("action_block", "actions_per_block"):
        found, expected = getattr(provenance, name), getattr(task, name)
        if found != expected:
            raise DatasetError(
                f"The provenance states {name}={found}, but {task.id} has {name}={expected}. "
                "A step of a dataset is one model step of its task."
            )


def _is_registered(task_id: str) -> bool:
    try:
        find_task(task_id)
    except UnknownNameError:
        return False
    return True
