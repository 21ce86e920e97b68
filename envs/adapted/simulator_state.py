"""How the state of an environment that knows no snapshots is kept and put back: from outside."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo is a binary module without type stubs.)

from __future__ import annotations

from typing import Any, Protocol

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from jepabench.envs.mujoco_world.simulation import STATE_SIGNATURE


class AdapterError(ValueError):
    """An environment that cannot be adapted as asked; the message says what is in the way."""


class Memory(Protocol):
    """Keeps the state of an environment."""

    @property
    def env(self) -> gymnasium.Env[Any, Any]:
        """The environment, to be reset (with a seed) and stepped through this only."""
        ...

    def get(self) -> NDArray[np.float64]:
        """Return the state [N]."""
        ...

    def set(self, state: NDArray[np.float64]) -> None:
        """Put back what ``get`` gave."""
        ...


class MujocoMemory:
    """Keeps the data of a MuJoCo model: the integration state, and all that was computed from it.

    The latter is needed because controllers and observations read poses, contact forces and sensors
    that are a physics step older
    than the state: to compute them anew would be another simulation.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = env
        model = env.unwrapped.model
        fresh = mujoco.MjData(model)  # what depends on contacts is still empty in it
        self._size = mujoco.mj_stateSize(model, STATE_SIGNATURE)
        values = {name: getattr(fresh, name) for name in dir(fresh) if not name.startswith("_")}
        self._computed = [
            name
            for name, value in values.items()
            if isinstance(value, np.ndarray) and value.size and value.dtype == np.float64
        ]

    def get(self) -> NDArray[np.float64]:
        """Return the integration state and everything computed [N]."""
        model, data = self.env.unwrapped.model, self.env.unwrapped.data
        state = np.empty(self._size)
        mujoco.mj_getState(model, data, state, STATE_SIGNATURE)
        return np.concatenate([state, *(getattr(data, name).ravel() for name in self._computed)])

    def set(self, state: NDArray[np.float64]) -> None:
        """Put back what ``get`` gave."""
        model, data = self.env.unwrapped.model, self.env.unwrapped.data
        mujoco.mj_setState(model, data, state[: self._size], STATE_SIGNATURE)
        start = self._size
        for array in (getattr(data, name) for name in self._computed):
            array[:] = state[start : start + array.size].reshape(array.shape)
            start += array.size


class ReplayMemory:
    """Keeps the seed of the last reset and the actions since, and puts a state back by playing them
    again.

    It takes as long as the episode has been, and is exact for every environment that its seed
    fixes.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = self._recorder = _Recorder(env)

    def get(self) -> NDArray[np.float64]:
        """Return the seed and all actions in a row [1 + T * A]."""
        return np.concatenate([[self._recorder.seed], *self._recorder.actions])

    def set(self, state: NDArray[np.float64]) -> None:
        """Play the episode that ``get`` gave."""
        self.env.reset(seed=int(state[0]))
        space = self.env.action_space
        for action in state[1:].reshape(-1, *(space.shape or ())):
            self.env.step(action.astype(space.dtype))


class _Recorder(gymnasium.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.seed, self.actions = 0, []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is None or options:
            raise AdapterError(
                "A goal function resets the environment with a seed from its rng, and without "
                "options."
            )
        self.seed, self.actions = seed, []
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.actions.append(np.array(action, np.float64))
        return super().step(action)
