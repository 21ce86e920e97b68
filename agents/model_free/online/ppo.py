"""PPO (Schulman et al., 2017) by Stable-Baselines3, by default on the dense reward.

On-policy methods cannot relabel goals, so this baseline uses a shaped reward, minus the distance to
the goal, scaled to returns of unit variance. It acts at the rate of the world models (one action
per block). Gamma, lambda, epochs and clipping are those that RL Baselines3 Zoo publishes for
continuous control. Ours uses eight environments and two layers of 64, to suit a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from jepabench.agents.model_free.online.observations import make_view
from jepabench.agents.model_free.online.training import (
    BUDGETS,
    POLICY,
    make_config,
    make_run,
    train_online,
)
from jepabench.agents.model_free.run_folder import record_device
from jepabench.envs.registry import get_task
from jepabench.world_models.training.devices import find_device


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig:
    """Settings of a PPO run.

    Attributes:
        image_size: Side of the frames, for a policy from pixels.
        reward: "sparse" or "dense".
        num_steps: Environment interaction in model steps, rounded up to whole rollouts.
        num_envs, rollout_steps: Number of environments, and model steps of each between updates.
        num_epochs, batch_size, learning_rate, gamma, gae_lambda, ent_coef, net_arch: As in
            Stable-Baselines3.
        sde_sample_freq: Above 0, exploration depends on the state (gSDE), and its noise is drawn
            anew after this many model steps.
        budgets: Transitions (control steps) at which the policy is saved.
        checkpoint_every: Model steps between checkpoints.
        device: "cpu", "cuda" or "mps", where the policy is trained.
    """

    image_size: int = 64
    reward: str = "dense"
    num_steps: int = 100_000
    num_envs: int = 8
    rollout_steps: int = 128
    num_epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 1e-3
    gamma: float = 0.95
    gae_lambda: float = 0.95
    ent_coef: float = 0.0
    sde_sample_freq: int = 0
    net_arch: Sequence[int] = (64, 64)
    budgets: Sequence[int] = BUDGETS
    checkpoint_every: int = 20_480
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
    """Train PPO, or resume its training.

    Args:
        task_id: The task.
        directory: Folder for the policy, ``training.json``, the policies per budget and
            checkpoints.
        seed: Seed of everything.
        world_model: Folder of a frozen model, for a policy on its latents; None for state or
            frames.
        pixels: Whether the policy uses frames.
        progress: Whether to show a progress bar.
        config: Fields of ``PPOConfig``.

    Raises:
        UnknownNameError: There is no such setting or reward.
    """
    options, task = make_config(PPOConfig, config), get_task(task_id)
    view = make_view(task, world_model=world_model, pixels=pixels, size=options.image_size)
    policy = {"net_arch": list(options.net_arch)}
    settings = {
        "n_steps": options.rollout_steps,
        "n_epochs": options.num_epochs,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "gamma": options.gamma,
        "gae_lambda": options.gae_lambda,
        "ent_coef": options.ent_coef,
    }
    if options.sde_sample_freq:
        settings |= {"use_sde": True, "sde_sample_freq": options.sde_sample_freq}

    recorded = {"policy": policy} | record_device(options.device)

    def build(env: VecNormalize) -> PPO:
        return PPO(
            POLICY,
            env,
            **settings,
            policy_kwargs=policy | view.policy,
            seed=seed,
            device=find_device(options.device),
        )

    run = make_run("ppo", task.id, seed, options, view, settings | recorded)
    train_online(run, build, view, directory=Path(directory), progress=progress)
