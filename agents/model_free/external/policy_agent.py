"""Base class of agents with a policy that was trained elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.agents.base import ActionQueue, check_specs
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec

RATES = ("step", "block")


class PolicyAgent(ABC):
    """Agent that calls a policy for one episode at a time and clips its actions to the bounds.

    Episodes are not batched, because matrix products round differently for other batch sizes.

    Args:
        task_id: Id of the task.
        action_size: Number of entries of the policy's action: A for one control step, or ``n * A``
            for a block of n actions.
        act: "step" to call the policy at every control step, "block" to call it once per block.
            By default, the size of the action decides; a size that fits both means "step".

    Raises:
        UnknownNameError: ``act`` is neither "step" nor "block".
        ValueError: The action fits neither a control step nor a block.
    """

    observation_keys: tuple[str, ...] = ()

    def __init__(self, *, task_id: str, action_size: int, act: str | None = None) -> None:
        if act is not None and act not in RATES:
            raise unknown_name("rate of acting", act, RATES)
        self.task = get_task(task_id)
        world = make(self.task.id)
        low, high = world.action_space.low, world.action_space.high  # pyright: ignore[reportAttributeAccessIssue]
        world.close()
        self._low, self._high = low.astype(np.float32), high.astype(np.float32)
        self._queue = ActionQueue(task=self.task)
        self._steps: NDArray[np.int64] = np.zeros(0, np.int64)
        sizes = {"step": low.size, "block": len(self._queue.low)}
        self.rate = act or next((rate for rate in RATES if sizes[rate] == action_size), "")
        if sizes.get(self.rate) != action_size:
            raise ValueError(
                f"The policy's action has {action_size} entries. {self.task.id} needs "
                f"{sizes['step']} for a control step or {sizes['block']} for a block."
            )

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        check_specs(self.task, specs)
        self._queue.reset(len(specs))
        self._steps = np.zeros(len(specs), np.int64)
        self.begin(len(specs))

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return control actions [B, A] within the bounds."""
        if self.rate == "block":
            for episode in self._queue.empty(active):
                self._queue.put(episode, self._call(observations, episode)[None])
            return self._queue.take(active)
        actions = np.tile(np.clip(0, self._low, self._high), (len(active), 1))
        for episode in np.flatnonzero(active):
            actions[episode] = self._call(observations, int(episode))
        return np.clip(actions, self._low, self._high).astype(np.float32)

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zeros [B], since the policy has no world model."""
        return np.zeros(len(self._steps), dtype=np.int64)

    @abstractmethod
    def begin(self, num_episodes: int) -> None:
        """Prepare for new episodes."""

    @abstractmethod
    def decide(self, observation: Mapping[str, NDArray[Any]], episode: int) -> NDArray[Any]:
        """Return the action of the policy for the observation of one episode."""

    def _call(self, observations: Mapping[str, NDArray[Any]], episode: int) -> NDArray[Any]:
        shown = {key: observations[key][episode] for key in self.observation_keys}
        return np.asarray(self.decide(shown, episode), dtype=np.float32).reshape(-1)
