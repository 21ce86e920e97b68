"""The interface of agents, and agents that need no learning.

Agents act in B episodes at once. Each episode has its own random stream
(``EpisodeSpec.planner_seed``), so its result does not depend on the other episodes of the batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec
from jepabench.envs.task import TaskSpec


@runtime_checkable
class Agent(Protocol):
    """Interface of all agents."""

    # Keys of the observation that the agent reads, such as ("pixels", "goal_pixels"),
    # ("observation", "desired_goal") or ().
    observation_keys: tuple[str, ...]

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes of one task, in the order in which ``act`` receives them."""
        ...

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return control actions [B, A] within the bounds for observations [B, ...].

        Rows that are not active are ignored.
        """
        ...

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """World-model (or simulator) steps so far in each episode [B].

        A search counts candidates x horizon x iterations.
        """
        ...


@runtime_checkable
class StatesCost(Protocol):
    """An agent that states the cost of its training, because no stage of the run trained it."""

    training_cost: Mapping[str, float | None]


@runtime_checkable
class UsesDevice(Protocol):
    """An agent that computes on a device of PyTorch; other agents use the CPU."""

    device: object  # its text is "cpu", "cuda" or "mps"


def check_specs(task: TaskSpec, specs: Sequence[EpisodeSpec]) -> None:
    """Check that all episodes are of the agent's task.

    Raises:
        ValueError: An episode is of another task.
    """
    for spec in specs:
        if spec.task_id != task.id:
            raise ValueError(
                f"This agent was made for {task.id!r}, got an episode of {spec.task_id!r}. "
                "Make an agent for that task."
            )


class ActionQueue:
    """Queue of planned blocks that returns one control action per control step, for B episodes.

    A block is a model-step action [n * A] in the units of the environment. It consists of ``n =
    actions_per_block`` actions, each held for ``action_block / n`` control steps (``TaskSpec``).
    Blocks are clipped to the bounds on entry.

    Args:
        task: Task that defines the block.
    """

    def __init__(self, *, task: TaskSpec) -> None:
        env = make(task.id)
        self._control_low = env.action_space.low.astype(np.float32)
        self._control_high = env.action_space.high.astype(np.float32)
        env.close()
        self.task = task
        self._hold = task.hold_steps
        self.reset(0)

    @property
    def low(self) -> NDArray[np.float32]:
        """Lower bound of a block [n * A], in environment units."""
        return np.tile(self._control_low, self.task.actions_per_block)

    @property
    def high(self) -> NDArray[np.float32]:
        """Upper bound of a block [n * A], in environment units."""
        return np.tile(self._control_high, self.task.actions_per_block)

    def reset(self, num_episodes: int) -> None:
        """Empty the queues of ``num_episodes`` new episodes."""
        still = np.clip(np.zeros_like(self._control_low), self._control_low, self._control_high)
        self.steps: NDArray[np.int64] = np.zeros(
            num_episodes, dtype=np.int64
        )  # control steps taken
        self._current = np.tile(still, (num_episodes, self.task.actions_per_block, 1))
        self._waiting: list[deque[NDArray[np.float32]]] = [deque() for _ in range(num_episodes)]

    def at_boundary(self, active: NDArray[np.bool_]) -> list[int]:
        """Return the active episodes whose next control step starts a block."""
        return [
            int(episode)
            for episode in np.flatnonzero(active & (self.steps % self.task.action_block == 0))
        ]

    def empty(self, active: NDArray[np.bool_]) -> list[int]:
        """Return the active episodes with no queued block at a block boundary."""
        return [episode for episode in self.at_boundary(active) if not self._waiting[episode]]

    def put(self, episode: int, blocks: NDArray[Any]) -> None:
        """Queue blocks [N, n * A] for an episode."""
        self._waiting[episode].extend(np.clip(blocks, self.low, self.high).astype(np.float32))

    def last_block(self, episode: int) -> NDArray[np.float32]:
        """Return the block [n * A] that was started last. Initially, it holds still."""
        return self._current[episode].reshape(-1)

    def take(self, active: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the next control actions [B, A]. Queues of inactive episodes do not advance."""
        for episode in self.at_boundary(active):
            block = self._waiting[episode].popleft()
            self._current[episode] = block.reshape(self.task.actions_per_block, -1)
        position = self.steps % self.task.action_block // self._hold
        self.steps[active] += 1
        return self._current[np.arange(len(self.steps)), position]


class OpenLoopAgent:
    """Base class of agents that ignore all observations and choose one block per model step."""

    observation_keys: tuple[str, ...] = ()

    def __init__(self, *, task_id: str) -> None:
        self.task = get_task(task_id)
        self._queue = ActionQueue(task=self.task)

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        check_specs(self.task, specs)
        self._queue.reset(len(specs))

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return control actions [B, A]."""
        del observations
        for episode in self._queue.empty(active):
            self._queue.put(episode, self._choose_block(episode)[None])
        return self._queue.take(active)

    def _choose_block(self, episode: int) -> NDArray[Any]:
        """Return the next block [n * A] of an episode."""
        raise NotImplementedError

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zero [B]: the agent uses no model."""
        return np.zeros(len(self._queue.steps), dtype=np.int64)


class RandomAgent(OpenLoopAgent):
    """Draws a uniform action for every model step; the lower reference of success rates."""

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        super().reset(specs)
        self._rngs = [np.random.default_rng(spec.planner_seed) for spec in specs]

    def _choose_block(self, episode: int) -> NDArray[Any]:
        return self._rngs[episode].uniform(self._queue.low, self._queue.high)


class HoldStillAgent(OpenLoopAgent):
    """Always takes the action 0, clipped to the bounds."""

    def _choose_block(self, episode: int) -> NDArray[Any]:
        del episode
        return np.zeros(len(self._queue.low))
