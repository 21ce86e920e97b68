"""Policies that Stable-Baselines3 or sb3-contrib saved (``model.save("model.zip")``).

Only the policy of the file is used, so every algorithm with a continuous action space works. The
file and ``VecNormalize`` statistics are pickles: loading them needs the user's trust
(``jepabench.agents.model_free.external.trust``).
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecNormalize

from jepabench.agents.model_free.external.policy_agent import PolicyAgent
from jepabench.agents.model_free.external.trust import require_trust
from jepabench.envs.registry import make

_FRAMES = {"pixels", "goal_pixels"}
# Schedules are not needed to act, and other versions of Python cannot load them.
_UNUSED = {"learning_rate": 0.0, "lr_schedule": None, "clip_range": None, "clip_range_vf": None}


class SB3Agent(PolicyAgent):
    """Acts with the deterministic action of a saved policy.

    A policy with a dictionary as input gets the entries that it was trained on. A policy with a
    vector as input gets the flattened observation of ``gymnasium.wrappers.FlattenObservation``,
    with or without ``achieved_goal``. Recurrent policies keep their state within an episode.

    Args:
        task_id: Id of the task.
        model: Path of the zip file, in which ``{seed}`` stands for the training seed.
        vec_normalize: Path of the ``VecNormalize`` statistics of the training, or None.
        act: "step" or "block". By default, the size of the action decides.
        training_seed: Training seed, for a path with ``{seed}``.

    Raises:
        UntrustedFileError: The user did not allow loading pickles.
        ValueError: A file is damaged, or the policy does not fit the task.
    """

    def __init__(
        self,
        *,
        task_id: str,
        model: str | Path,
        vec_normalize: str | Path | None = None,
        act: str | None = None,
        training_seed: int | None = None,
    ) -> None:
        self._file = _fill_seed(model, training_seed)
        self.policy, num_timesteps = load_policy(self._file)
        if not isinstance(self.policy.action_space, spaces.Box):
            raise ValueError(
                f"{self._file}: the policy has the action space {self.policy.action_space}. "
                "Only continuous actions (Box) are supported."
            )
        size = int(np.prod(self.policy.action_space.shape))
        super().__init__(task_id=task_id, action_size=size, act=act)
        self.observation_keys = self._choose_inputs()
        self._moments = (
            _load_moments(_fill_seed(vec_normalize, training_seed)) if vec_normalize else None
        )
        steps = self.task.action_block if self.rate == "block" else 1
        self.training_cost: dict[str, float | None] = {
            "transitions": num_timesteps * steps,
            "train_seconds": None,
            "parameters": sum(parameter.numel() for parameter in self.policy.parameters()),
        }

    def begin(self, num_episodes: int) -> None:
        """Reset the states of a recurrent policy."""
        self._states: list[Any] = [None] * num_episodes
        self._is_first = [True] * num_episodes

    def decide(self, observation: Mapping[str, NDArray[Any]], episode: int) -> NDArray[Any]:
        """Return the deterministic action of the policy."""
        inputs: Any = dict(observation)
        if isinstance(self.policy.observation_space, spaces.Box):
            inputs = np.concatenate(
                [np.asarray(inputs[key], np.float32).ravel() for key in self.observation_keys]
            )
        if self._moments is not None:
            inputs = self._moments.normalize_obs(inputs)
        start = np.array([self._is_first[episode]])
        action, state = self.policy.predict(
            inputs, state=self._states[episode], episode_start=start, deterministic=True
        )
        self._states[episode], self._is_first[episode] = state, False
        return np.asarray(action)

    def _choose_inputs(self) -> tuple[str, ...]:
        """Return the observation keys that the policy reads, in the order of its vector."""
        space = self.policy.observation_space
        keys = set(space.spaces) if isinstance(space, spaces.Dict) else set()
        world = make(self.task.id, pixels=64 if keys & _FRAMES else None)
        known = world.observation_space
        world.close()
        sizes = {key: int(np.prod(item.shape or ())) for key, item in known.spaces.items()}
        if isinstance(space, spaces.Dict):
            for key, item in space.spaces.items():
                size = int(np.prod(item.shape or ()))
                if key not in sizes or (key not in _FRAMES and size != sizes[key]):
                    raise ValueError(
                        f"{self._file}: the policy reads {key!r} of size {size}. {self.task.id} "
                        f"has {', '.join(f'{name} ({sizes[name]})' for name in sizes)}."
                    )
            return tuple(space.spaces)
        size = int(np.prod(space.shape or ()))
        for names in (
            ("achieved_goal", "desired_goal", "observation"),
            ("desired_goal", "observation"),
            ("observation",),
        ):
            if sum(sizes[name] for name in names) == size:
                return names
        raise ValueError(
            f"{self._file}: the policy reads a vector of size {size}, and no flattened "
            f"observation of {self.task.id} has this size: "
            f"{', '.join(f'{name} ({sizes[name]})' for name in sizes)}."
        )


def load_policy(path: Path) -> tuple[BasePolicy, int]:
    """Return the policy of a saved algorithm and the number of steps that it was trained for.

    Raises:
        UntrustedFileError: The user did not allow loading pickles.
        ValueError: The file is damaged, or was saved by an incompatible version.
    """
    require_trust(path)
    try:
        data, params, _ = load_from_zip_file(path, custom_objects=_UNUSED, device="cpu")
        settings = dict((data or {})["policy_kwargs"])
        settings.pop("device", None)
        policy_class = (data or {})["policy_class"]
        if "use_sde" in inspect.signature(policy_class).parameters:
            settings.setdefault("use_sde", (data or {}).get("use_sde", False))
        policy = policy_class(
            (data or {})["observation_space"],
            (data or {})["action_space"],
            lambda _: 0.0,
            **settings,
        )
        policy.load_state_dict(params["policy"])
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever a pickle may raise
        raise ValueError(
            f"{path} cannot be loaded as a model of Stable-Baselines3: {type(error).__name__}: "
            f"{error}"
        ) from error
    policy.set_training_mode(False)
    return policy, int((data or {}).get("num_timesteps", 0))


def _load_moments(path: Path) -> VecNormalize:
    require_trust(path)
    try:
        with path.open("rb") as file:
            moments = pickle.load(file)
    except Exception as error:  # whatever a pickle may raise
        raise ValueError(f"{path} cannot be loaded as VecNormalize: {error}") from error
    if not isinstance(moments, VecNormalize):
        raise ValueError(f"{path} contains a {type(moments).__name__}, not VecNormalize.")
    return moments


def _fill_seed(path: str | Path, seed: int | None) -> Path:
    return Path(str(path).replace("{seed}", str(0 if seed is None else seed)))
