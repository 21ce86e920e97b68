"""Algorithms of Stable-Baselines3 for online runs, and their common settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from jepabench.agents.model_free.online.observations import View
from jepabench.envs.errors import unknown_name
from jepabench.envs.task import load_entry_point
from jepabench.world_models.settings import require_at_least

POLICY = "MultiInputPolicy"
# Transitions at which policies are saved.
BUDGETS = (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
ALGORITHMS = {
    "sac": "stable_baselines3:SAC",
    "td3": "stable_baselines3:TD3",
    "ppo": "stable_baselines3:PPO",
    "tqc": "sb3_contrib:TQC",
}


def find_algorithm(name: str) -> type[BaseAlgorithm]:
    """Return the class of a Stable-Baselines3 algorithm.

    Raises:
        UnknownNameError: There is no such algorithm.
        ModuleNotFoundError: The algorithm needs sb3-contrib, which is not installed.
    """
    if name not in ALGORITHMS:
        raise unknown_name("algorithm", name, ALGORITHMS)
    try:
        return load_entry_point(ALGORITHMS[name])
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name!r} needs sb3-contrib, which is not installed: pip install 'jepabench[contrib]'"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class SB3Config:
    """Settings of every online run. The algorithms add their own.

    Attributes:
        image_size: Side length of the frames in pixels, for a policy from pixels.
        reward: Reward of the task, "sparse" or "dense".
        num_steps: Number of model steps in the environment.
        num_envs: Number of environments.
        batch_size, learning_rate, gamma, net_arch: See Stable-Baselines3.
        budgets: Numbers of transitions (control steps) after which the policy is saved.
        checkpoint_every: Number of model steps between checkpoints.
        device: Device on which the policy is trained, "cpu", "cuda" or "mps".
    """

    image_size: int = 64
    reward: str = "sparse"
    num_steps: int = 20_000
    num_envs: int = 1
    batch_size: int = 256
    learning_rate: float = 1e-3
    gamma: float = 0.95
    net_arch: Sequence[int] = (64, 64)
    budgets: Sequence[int] = BUDGETS
    checkpoint_every: int = 5000
    device: str = "cpu"

    def __post_init__(self) -> None:
        require_at_least(
            1,
            image_size=self.image_size,
            num_steps=self.num_steps,
            num_envs=self.num_envs,
            batch_size=self.batch_size,
            checkpoint_every=self.checkpoint_every,
        )
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """An algorithm of Stable-Baselines3 and its settings.

    Attributes:
        name: Name in ``ALGORITHMS``.
        settings: Arguments of the class.
        recorded: Settings that are recorded with the result besides ``settings``.
        policy: Arguments of the policy.
        choose_parts: Function that returns arguments which depend on the environment or the view,
            such as the replay buffer.
    """

    name: str
    settings: dict[str, Any]
    recorded: dict[str, Any]
    policy: dict[str, Any]
    choose_parts: Callable[[VecNormalize, View], Mapping[str, Any]] = lambda *_: {}
