"""Training episodes of a task, for Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from jepabench.agents.model_free.online.observations import View
from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.core.goal_env import Observation
from jepabench.envs.registry import make
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.envs.task import TaskSpec


class TrainingEpisodes(gymnasium.Wrapper[Observation, NDArray[Any], Observation, NDArray[Any]]):
    """An environment with model steps, which cycles through the strata of training episodes.

    ``reset(seed=s)`` starts a new sequence of episodes, and ``reset()`` continues it. All episodes
    are from the ``train`` split.
    """

    def __init__(self, task: TaskSpec, *, reward: str, view: View | None = None) -> None:
        self.view = view or View(task)
        self.block = ActionBlock(make(task.id, reward=reward, pixels=self.view.pixels))
        super().__init__(self.block)
        self.observation_space = self.view.space  # pyright: ignore[reportAttributeAccessIssue]
        self.task, self._num_episodes = task, 0
        self._rng = np.random.default_rng(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the next training episode. ``options`` are ignored."""
        del options
        if seed is not None:
            self._rng, self._num_episodes = np.random.default_rng(seed), 0
        stratum = self.task.strata[self._num_episodes % len(self.task.strata)]
        self._num_episodes += 1
        spec = EpisodeSpec(self.task.id, "train", stratum, int(self._rng.integers(2**62)))
        seen, info = reset_to(self.block.goal_env, spec)
        self._seen = self.view(seen)
        return self._seen, info

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one action block."""
        seen, reward, terminated, truncated, info = self.block.step(action)
        self._seen = self.view(seen, self._seen)
        return self._seen, reward, terminated, truncated, info

    def compute_reward(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any], info: Any
    ) -> NDArray[np.float64]:
        """Return the reward [N]. Hindsight replay calls this method of the outermost wrapper."""
        own = slice(self.view.num_coordinates)
        return self.block.compute_reward(achieved_goal[..., own], desired_goal[..., own], info)


def check_rewards(task: TaskSpec, reward: str) -> None:
    """Check that a task computes a reward for batches of goals.

    Raises:
        UnknownNameError: There is no such reward.
        ValueError: The task has no reward, or computes it only for single goals.
    """
    world = make(task.id, reward=reward)
    goals = np.stack([world.reset(seed=0)[0]["achieved_goal"]] * 2)
    try:
        found = np.asarray(world.compute_reward(goals, goals, {}))
    except NotImplementedError:
        found = np.array(None)
    world.close()
    if found.shape != (2,) or not np.isfinite(found.astype(np.float64)).all():
        raise ValueError(
            f"{task.id} computes no {reward} reward for a batch of goals [N, G], which online "
            "training needs. Implement distance() and is_success() for batches, or use an offline "
            "method."
        )
