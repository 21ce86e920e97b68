"""SAC, TD3 and TQC of Stable-Baselines3, with or without hindsight goals.

SAC is by Haarnoja et al. (2018), TD3 by Fujimoto et al. (2018), TQC by Kuznetsov et al. (2020), and
hindsight experience replay by Andrychowicz et al. (2017).

The algorithms act at the rate of the world models (one action per block), so that both solve the
same control problem. The settings are based on those that RL Baselines3 Zoo publishes for
goal-reaching arms with hindsight (TQC on FetchReach: learning rate 1e-3, batch size 256, gamma
0.95, two layers of 64, four hindsight goals, normalised inputs). To suit a CPU, ours take several
steps between updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.her import HerReplayBuffer

from jepabench.agents.model_free.online.algorithms import Algorithm, SB3Config, find_algorithm
from jepabench.agents.model_free.online.observations import PixelView, ShiftedReplayBuffer, View
from jepabench.agents.model_free.online.training import train_online
from jepabench.envs.errors import unknown_name
from jepabench.envs.task import TaskSpec
from jepabench.world_models.settings import require_at_least

OFF_POLICY = ("sac", "td3", "tqc")
_SB3_SETTINGS = (
    "learning_starts",
    "train_freq",
    "gradient_steps",
    "batch_size",
    "learning_rate",
    "gamma",
    "tau",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPolicyConfig(SB3Config):
    """Settings of an off-policy run.

    Attributes:
        algorithm: "sac", "td3" or "tqc" (which needs the extra ``contrib``).
        num_goals: Number of hindsight goals per true goal in a batch; 0 for none.
        buffer_size: Capacity of the replay buffer in transitions, by default that of all steps.
        learning_starts: Number of model steps with random actions at the start. With hindsight
            goals, at least the longest episode of every environment.
        train_freq: Number of model steps of each environment between updates.
        gradient_steps: Number of gradient steps per update.
        tau: See Stable-Baselines3.
        action_noise: Standard deviation of TD3's exploration noise, relative to the action range.
    """

    algorithm: str = "sac"
    num_goals: int = 4
    buffer_size: int | None = None
    learning_starts: int = 1000
    train_freq: int = 4
    gradient_steps: int = 2
    tau: float = 0.005
    action_noise: float = 0.1


def describe_algorithm(config: OffPolicyConfig, task: TaskSpec, pixels: bool) -> Algorithm:
    """Return the algorithm of a run. From pixels, each batch is shifted at random.

    Raises:
        UnknownNameError: There is no such algorithm.
        ModuleNotFoundError: TQC needs the extra ``contrib``, which is not installed.
        ValueError: ``learning_starts`` is too small, or hindsight goals are used with frames.
    """
    if config.algorithm not in OFF_POLICY:
        raise unknown_name("off-policy algorithm", config.algorithm, OFF_POLICY)
    find_algorithm(config.algorithm)  # raises if its package is missing
    _check_hindsight(task, config, pixels)
    policy: dict[str, Any] = {"net_arch": list(config.net_arch)}
    if pixels:
        policy["share_features_extractor"] = True
    settings = {name: getattr(config, name) for name in _SB3_SETTINGS}
    return Algorithm(
        name=config.algorithm,
        settings=settings | {"buffer_size": config.buffer_size or config.num_steps},
        recorded={"num_goals": config.num_goals, "action_noise": config.action_noise},
        policy=policy,
        choose_parts=partial(_choose_parts, config),
    )


def _check_hindsight(task: TaskSpec, config: OffPolicyConfig, pixels: bool) -> None:
    if pixels and config.num_goals:
        raise ValueError(
            "Hindsight goals are vectors. With pixels=true, set num_goals=0, or train on latents."
        )
    if config.num_goals:
        longest = -(-task.max_steps // task.action_block)
        require_at_least(longest * config.num_envs, learning_starts=config.learning_starts)


def _choose_parts(config: OffPolicyConfig, env: VecNormalize, view: View) -> dict[str, Any]:
    """Return the exploration noise and the replay buffer."""
    parts: dict[str, Any] = {}
    if config.algorithm == "td3":
        mean = np.zeros(env.action_space.shape)  # pyright: ignore[reportArgumentType, reportCallIssue]
        std = np.full_like(mean, config.action_noise)
        parts["action_noise"] = NormalActionNoise(mean, std)
    if config.num_goals:
        parts["replay_buffer_class"] = HerReplayBuffer
        parts["replay_buffer_kwargs"] = {"n_sampled_goal": config.num_goals}
    elif isinstance(view, PixelView):
        parts["replay_buffer_class"] = ShiftedReplayBuffer
    return parts


train = partial(train_online, OffPolicyConfig, describe_algorithm)
