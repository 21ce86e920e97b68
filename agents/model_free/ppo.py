"""Proximal policy optimisation on the dense reward, minus the distance to the goal (Schulman et al., 2017).

The algorithm is Stable-Baselines3's, at the rate of the world models (one action a block). On-policy methods can not
relabel goals, so this is the row with a shaped reward, scaled to returns of unit variance; the presets are ours.
"""

from __future__ import annotations

from pathlib import Path

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from agents.model_free.online import POLICY, OnlineAgent, OnlineRun, train_online
from envs.registry import get_task

NAME = "ppo"


def train(
    *,
    task_id: str,
    directory: Path,
    seed: int,
    num_steps: int = 100_000,
    num_envs: int = 8,
    rollout_steps: int = 128,
    num_epochs: int = 10,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    gamma: float = 0.95,
    gae_lambda: float = 0.95,
    net_arch: tuple[int, ...] = (64, 64),
    checkpoint_every: int = 20_480,
    progress: bool = True,
) -> None:
    """Trains, or resumes, PPO.

    Args:
        task_id: the task.
        directory: where the policy, ``training.json`` and, while it runs, the checkpoints go.
        seed: of everything.
        num_steps: environment interaction in model steps, rounded up to whole rollouts.
        num_envs, rollout_steps: environments side by side, and model steps of each between updates.
        num_epochs, batch_size, learning_rate, gamma, gae_lambda, net_arch: as in Stable-Baselines3.
        checkpoint_every: model steps between checkpoints.
        progress: show a progress bar.
    """
    net_arch = tuple(net_arch)
    settings = {
        "n_steps": rollout_steps, "n_epochs": num_epochs, "batch_size": batch_size,
        "learning_rate": learning_rate, "gamma": gamma, "gae_lambda": gae_lambda,
    }  # fmt: skip

    def build(env: VecNormalize) -> PPO:
        return PPO(POLICY, env, **settings, policy_kwargs={"net_arch": list(net_arch)}, seed=seed, device="cpu")

    run = OnlineRun(
        algorithm=NAME,
        task_id=get_task(task_id).id,
        seed=seed,
        num_steps=num_steps,
        checkpoint_every=checkpoint_every,
        num_envs=num_envs,
        reward="dense",
        settings={**settings, "net_arch": net_arch},
    )
    train_online(run, build, directory=Path(directory), progress=progress)


class PPOAgent(OnlineAgent):
    """Acts with the mean of a PPO policy."""

    def __init__(self, *, task_id: str, policy: Path) -> None:
        super().__init__(task_id=task_id, policy=policy, algorithm=PPO, name=NAME)
