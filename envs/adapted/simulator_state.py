"""Save and restore the state of environments that have no snapshots of their own."""

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
    """An environment that cannot be adapted; the message gives the reason."""


class Memory(Protocol):
    """Saves and restores the state of an environment."""

    @property
    def env(self) -> gymnasium.Env[Any, Any]:
        """The environment. Reset it, always with a seed, and step it only through this object."""
        ...

    def get(self) -> NDArray[np.float64]:
        """Return the state [N]."""
        ...

    def set(self, state: NDArray[np.float64]) -> None:
        """Restore a state that ``get`` returned."""
        ...


class MujocoMemory:
    """Saves the integration state of a MuJoCo model and all quantities computed from it.

    Controllers and observations read poses, contact forces and sensors that were computed one
    physics step before the state. Computing them from the restored state would change the
    simulation.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = env
        model = env.unwrapped.model
        fresh = mujoco.MjData(model)  # arrays that depend on contacts are still empty
        self._size = mujoco.mj_stateSize(model, STATE_SIGNATURE)
        values = {name: getattr(fresh, name) for name in dir(fresh) if not name.startswith("_")}
        self._computed = [
            name
            for name, value in values.items()
            if isinstance(value, np.ndarray) and value.size and value.dtype == np.float64
        ]

    def get(self) -> NDArray[np.float64]:
        """Return the integration state and all computed quantities [N]."""
        model, data = self.env.unwrapped.model, self.env.unwrapped.data
        state = np.empty(self._size)
        mujoco.mj_getState(model, data, state, STATE_SIGNATURE)
        return np.concatenate([state, *(getattr(data, name).ravel() for name in self._computed)])

    def set(self, state: NDArray[np.float64]) -> None:
        """Restore a state that ``get`` returned."""
        model, data = self.env.unwrapped.model, self.env.unwrapped.data
        mujoco.mj_setState(model, data, state[: self._size], STATE_SIGNATURE)
        start = self._size
        for array in (getattr(data, name) for name in self._computed):
            array[:] = state[start : start + array.size].reshape(array.shape)
            start += array.size


class ReplayMemory:
    """Saves the seed of the last reset and all actions since then, and replays them to restore.

    Restoring takes as long as the episode so far. It is exact for every environment that is
    deterministic given its seed.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = self._recorder = _Recorder(env)

    def get(self) -> NDArray[np.float64]:
        """Return the seed followed by all actions [1 + T * A]."""
        return np.concatenate([[self._recorder.seed], *self._recorder.actions])

    def set(self, state: NDArray[np.float64]) -> None:
        """Replay the episode that ``get`` returned."""
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
                "A goal function must reset the environment with a seed drawn from its rng, and "
                "without options."
            )
        self.seed, self.actions = seed, []
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.actions.append(np.array(action, np.float64))
        return super().step(action)
