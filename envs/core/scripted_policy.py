"""Base classes of the scripted policies that collect data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jepabench.envs.core.free_space import FreeSpace
    from jepabench.envs.core.goal_env import GoalEnv, Observation


class ScriptedPolicy:
    """A policy that knows its world and has one random stream per episode.

    Subclasses define ``_start`` and ``_decide``.
    """

    _env: Any

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        self._env, self._rng, self._hold = env, rng, env.task.hold_steps
        self._start()

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return the action [A] that is held next."""
        return self._decide(observation).astype(np.float32)

    def _start(self) -> None:
        raise NotImplementedError

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        raise NotImplementedError


class PathPolicy(ScriptedPolicy):
    """A policy that follows a path ``_path`` [K, 2] through free space.

    Subclasses define the members below.
    """

    _path: NDArray[np.float64]

    @property
    def _position(self) -> NDArray[np.float64]:
        """Position [2] of the body [m]."""
        raise NotImplementedError

    def _set_out(self, goal: NDArray[np.float64]) -> None:
        """Plan the path to a place [2]."""
        raise NotImplementedError

    def _follow(self) -> NDArray[np.float64]:
        """Return the action [A] that follows the path."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Wanderer(PathPolicy):
    """Goes to one random free place after another, with noise on its actions.

    Attributes:
        noise: Standard deviation, in units of the action.
        reached: A place is left when the body is this near to it [m].
        patience: Decisions after which a place is given up.
    """

    noise: float = 0.3
    reached: float = 0.2
    patience: int = 40

    def _start(self) -> None:
        space: FreeSpace = self._env.free_space
        self._num_decisions = 0
        self._set_out(space.sample(self._rng)[0])

    def _decide(self, observation: Observation) -> NDArray[np.float64]:
        del observation
        self._num_decisions += 1
        near = np.linalg.norm(self._path[-1] - self._position) < self.reached
        if near or self._num_decisions > self.patience:
            self._start()
        action = self._follow()
        return (action + self._rng.normal(0.0, self.noise, len(action))).clip(-1.0, 1.0)
