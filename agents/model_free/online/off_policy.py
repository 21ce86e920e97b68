"""SAC, TD3 and TQC, with or without hindsight goals, by Stable-Baselines3.

Papers: Haarnoja et al., 2018; Fujimoto et al., 2018; Kuznetsov et al., 2020; hindsight:
Andrychowicz et al., 2017.

The algorithms act at the rate of the world models (one action per block), so that both sides solve
the same control problem. The settings start from those that RL Baselines3 Zoo publishes for
goal-reaching arms with hindsight (TQC on FetchReach: learning rate 1e-3, batch 256, gamma 0.95, two
layers of 64, four hindsight goals, normalised inputs). Ours take several steps between updates, to
suit a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
    find_algorithm,
    make_config,
    make_run,
    train_online,
)
from jepabench.agents.model_free.run_folder import record_device
from jepabench.agents.planners.base import require_at_least
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task
from jepabench.envs.task import TaskSpec
from jepabench.world_models.training.devices import find_device

ALGORITHMS = ("sac", "td3", "tqc")
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
class OffPolicyConfig:
    """Settings of an off-policy run.

    Attributes:
        algorithm: "sac", "td3" or "tqc" (which needs the extra ``contrib``).
        image_size: Side of the frames, for a policy from pixels.
        reward: "sparse" or "dense".
        num_goals: Hindsight goals per true goal in a batch; 0 for none.
        num_steps: Environment interaction in model steps.
        num_envs: Number of environments.
        buffer_size: Transitions in the replay buffer; all by default.
        learning_starts: Model steps of random actions at the start; with hindsight goals at least
            the longest episode of every environment.
        train_freq, gradient_steps: Model steps of each environment between updates, and updates
            then.
        batch_size, learning_rate, gamma, tau, net_arch: As in Stable-Baselines3.
        action_noise: Standard deviation of TD3's exploration noise, in units of the action's range.
        budgets: Transitions (control steps) at which the policy is saved.
        checkpoint_every: Model steps between checkpoints.
        device: "cpu", "cuda" or "mps", where the policy is trained.
    """

    algorithm: str = "sac"
    image_size: int = 64
    reward: str = "sparse"
    num_goals: int = 4
    num_steps: int = 20_000
    num_envs: int = 1
    buffer_size: int | None = None
    learning_starts: int = 1000
    train_freq: int = 4
    gradient_steps: int = 2
    batch_size: int = 256
    learning_rate: float = 1e-3
    gamma: float = 0.95
    tau: float = 0.005
    action_noise: float = 0.1
    net_arch: Sequence[int] = (64, 64)
    budgets: Sequence[int] = BUDGETS
    checkpoint_every: int = 5000
    device: str = "cpu"


def train(
    *,
    task_id: str,
    directory: Path,
    seed: int,
    world_model: Path | None = None,
    pixels: bool = False,
    progress: bool = True,
    **config: Any,
) -> None:
    """Train an off-policy algorithm, or resume its training.

    Args:
        task_id: The task.
        directory: Folder for the policy, ``training.json``, the policies per budget and
            checkpoints.
        seed: Seed of everything.
        world_model: Folder of a frozen model, for a policy on its latents; None for state or
            frames.
        pixels: Whether the policy uses frames, shifted at random in each batch.
        progress: Whether to show a progress bar.
        config: Fields of ``OffPolicyConfig``.

    Raises:
        UnknownNameError: There is no such setting, algorithm or reward.
        ModuleNotFoundError: TQC without the extra.
        ValueError: ``learning_starts`` is too short, or hindsight goals were asked for on frames.
    """
    options = make_config(OffPolicyConfig, config)
    if options.algorithm not in ALGORITHMS:
        raise unknown_name("off-policy algorithm", options.algorithm, ALGORITHMS)
    find_algorithm(options.algorithm)  # fails early without its package
    task = get_task(task_id)
    _check_hindsight(task, options, pixels)
    view = make_view(task, world_model=world_model, pixels=pixels, size=options.image_size)
    policy: dict[str, Any] = {"net_arch": list(options.net_arch)}
    if pixels:
        policy["share_features_extractor"] = True
    settings = {name: getattr(options, name) for name in _SB3_SETTINGS}
    settings["buffer_size"] = options.buffer_size or options.num_steps
    recorded = {
        "num_goals": options.num_goals,
        "action_noise": options.action_noise,
        "policy": policy,
    }
    recorded |= record_device(options.device)
    run = make_run(options.algorithm, task.id, seed, options, view, settings | recorded)
    build = partial(_build, run, settings, view)
    train_online(run, build, view, directory=Path(directory), progress=progress)


def _check_hindsight(task: TaskSpec, config: OffPolicyConfig, pixels: bool) -> None:
    if pixels and config.num_goals:
        raise ValueError(
            "Hindsight goals are vectors: with pixels=true set num_goals=0, or train on latents."
        )
    if config.num_goals:
        longest = -(-task.max_steps // task.action_block)
        require_at_least(longest * config.num_envs, learning_starts=config.learning_starts)


def _build(run: OnlineRun, settings: dict[str, Any], view: View, env: VecNormalize) -> Any:
    """Return the algorithm of a run."""
    noise = {}
    if run.algorithm == "td3":
        mean = np.zeros(env.action_space.shape)  # pyright: ignore[reportArgumentType, reportCallIssue]
        std = np.full_like(mean, run.settings["action_noise"])
        noise["action_noise"] = NormalActionNoise(mean, std)
    return find_algorithm(run.algorithm)(
        POLICY,
        env,
        **settings,
        **noise,
        **_select_buffer(view, run.settings["num_goals"]),
        policy_kwargs=run.settings["policy"] | view.policy,
        seed=run.seed,
        device=find_device(run.settings.get("device", "cpu")),
    )


def _select_buffer(view: View, num_goals: int) -> dict[str, Any]:
    if num_goals:
        return {
            "replay_buffer_class": HerReplayBuffer,
            "replay_buffer_kwargs": {"n_sampled_goal": num_goals},
        }
    return {"replay_buffer_class": ShiftedReplayBuffer} if isinstance(view, PixelView) else {}
