"""SAC, TD3 and TQC, with goals in hindsight or without.

Papers: Haarnoja et al., 2018; Fujimoto et al., 2018; Kuznetsov et al., 2020; hindsight: Andrychowicz et al., 2017.

The algorithms are Stable-Baselines3's. They act at the rate of the world models (one action a block), so that both sides
meet the same control problem. The settings start from what RL Baselines3 Zoo publishes for goal-reaching arms with
hindsight (TQC on FetchReach: learning rate 1e-3, batch 256, discount 0.95, two layers of 64, four hindsight goals, inputs
normalised); ours on top of it, for a CPU: several steps between updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.her import HerReplayBuffer

from jepabench.agents.model_free.online.observations import (
    PixelView,
    ShiftedReplayBuffer,
    View,
    make_view,
)
from jepabench.agents.model_free.online.training import (
    BUDGETS,
    POLICY,
    OnlineRun,
    algorithm_class,
    train_online,
)
from jepabench.agents.planners.base import require_at_least
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task

ALGORITHMS = ("sac", "td3", "tqc")


def train(
    *,
    task_id: str,
    directory: Path,
    seed: int,
    algorithm: str = "sac",
    world_model: Path | None = None,
    pixels: bool = False,
    image_size: int = 64,
    reward: str = "sparse",
    num_goals: int = 4,
    num_steps: int = 20_000,
    num_envs: int = 1,
    buffer_size: int | None = None,
    learning_starts: int = 1000,
    train_freq: int = 4,
    gradient_steps: int = 2,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    gamma: float = 0.95,
    tau: float = 0.005,
    action_noise: float = 0.1,
    net_arch: Sequence[int] = (64, 64),
    budgets: Sequence[int] = BUDGETS,
    checkpoint_every: int = 5000,
    progress: bool = True,
) -> None:
    """Trains, or goes on training, an off-policy algorithm.

    Args:
        task_id: the task.
        directory: where the policy, ``training.json``, the policies by budget and, while it runs, the checkpoints go.
        seed: of everything.
        algorithm: ``sac``, ``td3`` or ``tqc`` (which needs the extra ``contrib``).
        world_model: folder of a frozen model whose latents the policy sees; None for the state or frames.
        pixels: see frames of side ``image_size``, shifted at random in each batch.
        reward: ``sparse`` or ``dense``.
        num_goals: hindsight goals for each true one in a batch; 0 for none.
        num_steps: environment interaction in model steps.
        num_envs: environments side by side.
        buffer_size: transitions that are kept; all by default.
        learning_starts: model steps of random actions at first; with hindsight at least the longest episode.
        train_freq, gradient_steps: model steps (of each environment) between updates, and how many updates then.
        batch_size, learning_rate, gamma, tau, net_arch: as in Stable-Baselines3.
        action_noise: standard deviation of the noise of TD3's actions while it trains, in units of the action's range.
        budgets: transitions (control steps) at which the policy is saved, for the curve over data.
        checkpoint_every: model steps between checkpoints.
        progress: show a progress bar.

    Raises:
        UnknownNameError: no such algorithm or reward.
        ModuleNotFoundError: TQC without the extra.
        ValueError: ``learning_starts`` is shorter than the longest episode, or hindsight is asked for on frames.
    """
    if algorithm not in ALGORITHMS:
        raise unknown_name("off-policy algorithm", algorithm, ALGORITHMS)
    kind, task = algorithm_class(algorithm), get_task(task_id)
    if pixels and num_goals:
        raise ValueError(
            "Hindsight goals are vectors: with pixels=true say num_goals=0, or train on latents."
        )
    if num_goals:
        longest = -(-task.max_steps // task.action_block)
        require_at_least(longest * num_envs, learning_starts=learning_starts)
    view = make_view(task, world_model=world_model, pixels=pixels, size=image_size)
    policy: dict[str, Any] = {"net_arch": list(net_arch)} | (
        {"share_features_extractor": True} if pixels else {}
    )
    settings = {
        "learning_starts": learning_starts,
        "train_freq": train_freq,
        "gradient_steps": gradient_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "gamma": gamma,
        "tau": tau,
        "buffer_size": buffer_size or num_steps,
    }

    def build(env: VecNormalize) -> Any:
        noise = {}
        if algorithm == "td3":
            mean = np.zeros(env.action_space.shape)  # pyright: ignore[reportArgumentType, reportCallIssue]
            noise["action_noise"] = NormalActionNoise(mean, np.full_like(mean, action_noise))
        return kind(
            POLICY,
            env,
            **settings,
            **noise,
            **_replay(view, num_goals),
            policy_kwargs=policy | view.policy,
            seed=seed,
            device="cpu",
        )

    run = OnlineRun(
        algorithm=algorithm,
        task_id=task.id,
        seed=seed,
        num_steps=num_steps,
        checkpoint_every=checkpoint_every,
        num_envs=num_envs,
        reward=reward,
        inputs=view.inputs,
        world_model=view.world_model,
        image_size=image_size,
        budgets=tuple(budgets),
        settings={
            **settings,
            "num_goals": num_goals,
            "action_noise": action_noise,
            "policy": policy,
        },
    )
    train_online(run, build, view, directory=Path(directory), progress=progress)


def _replay(view: View, num_goals: int) -> dict[str, Any]:
    if num_goals:
        return {
            "replay_buffer_class": HerReplayBuffer,
            "replay_buffer_kwargs": {"n_sampled_goal": num_goals},
        }
    return {"replay_buffer_class": ShiftedReplayBuffer} if isinstance(view, PixelView) else {}
