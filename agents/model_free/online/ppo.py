"""Proximal policy optimisation (Schulman et al., 2017), by preset on the dense reward, minus the distance to the goal.

The algorithm is Stable-Baselines3's, at the rate of the world models (one action a block). On-policy methods can not
relabel goals, so this is the row with a shaped reward, scaled to returns of unit variance. Discount, lambda, epochs and
clipping are what RL Baselines3 Zoo publishes for continuous control; ours, for a CPU: eight environments, two layers of 64.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from jepabench.agents.model_free.online.observations import make_view
from jepabench.agents.model_free.online.training import BUDGETS, POLICY, OnlineRun, train_online
from jepabench.envs.registry import get_task


def train(
    *,
    task_id: str,
    directory: Path,
    seed: int,
    world_model: Path | None = None,
    pixels: bool = False,
    image_size: int = 64,
    reward: str = "dense",
    num_steps: int = 100_000,
    num_envs: int = 8,
    rollout_steps: int = 128,
    num_epochs: int = 10,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    gamma: float = 0.95,
    gae_lambda: float = 0.95,
    ent_coef: float = 0.0,
    sde_sample_freq: int = 0,
    net_arch: Sequence[int] = (64, 64),
    budgets: Sequence[int] = BUDGETS,
    checkpoint_every: int = 20_480,
    progress: bool = True,
) -> None:
    """Trains, or goes on training, PPO.

    Args:
        task_id: the task.
        directory: where the policy, ``training.json``, the policies by budget and, while it runs, the checkpoints go.
        seed: of everything.
        world_model: folder of a frozen model whose latents the policy sees; None for the state or frames.
        pixels: see frames of side ``image_size``.
        reward: ``sparse`` or ``dense``.
        num_steps: environment interaction in model steps, rounded up to whole rollouts.
        num_envs, rollout_steps: environments side by side, and model steps of each between updates.
        num_epochs, batch_size, learning_rate, gamma, gae_lambda, ent_coef, net_arch: as in Stable-Baselines3.
        sde_sample_freq: above 0, exploration depends on the state (gSDE), with noise drawn anew every so many model steps.
        budgets: transitions (control steps) at which the policy is saved, for the curve over data.
        checkpoint_every: model steps between checkpoints.
        progress: show a progress bar.
    """
    task = get_task(task_id)
    view = make_view(task, world_model=world_model, pixels=pixels, size=image_size)
    policy = {"net_arch": list(net_arch)}
    settings = {
        "n_steps": rollout_steps,
        "n_epochs": num_epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "gamma": gamma,
        "gae_lambda": gae_lambda,
        "ent_coef": ent_coef,
    }
    if sde_sample_freq:
        settings |= {"use_sde": True, "sde_sample_freq": sde_sample_freq}

    def build(env: VecNormalize) -> PPO:
        return PPO(
            POLICY, env, **settings, policy_kwargs=policy | view.policy, seed=seed, device="cpu"
        )

    run = OnlineRun(
        algorithm="ppo",
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
        settings={**settings, "policy": policy},
    )
    train_online(run, build, view, directory=Path(directory), progress=progress)
