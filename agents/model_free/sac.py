"""Soft actor-critic with hindsight experience replay on the sparse reward (Haarnoja et al., 2018; Andrychowicz et al., 2017).

The algorithm is Stable-Baselines3's. It acts at the rate of the world models (one action a block), so that both sides
meet the same control problem. The presets are ours, for a CPU: small networks, several steps between updates.
"""

from __future__ import annotations

from pathlib import Path

from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.her import HerReplayBuffer

from agents.model_free.online import POLICY, OnlineAgent, OnlineRun, train_online
from agents.planners.base import require_at_least
from envs.registry import get_task

NAME = "sac"


def train(
    *,
    task_id: str,
    directory: Path,
    seed: int,
    num_steps: int = 20_000,
    num_envs: int = 1,
    learning_starts: int = 1000,
    train_freq: int = 4,
    gradient_steps: int = 2,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    gamma: float = 0.95,
    net_arch: tuple[int, ...] = (64, 64),
    num_goals: int = 4,
    checkpoint_every: int = 5000,
    progress: bool = True,
) -> None:
    """Trains, or resumes, SAC + HER.

    Args:
        task_id: the task.
        directory: where the policy, ``training.json`` and, while it runs, the checkpoints go.
        seed: of everything.
        num_steps: environment interaction in model steps; also the size of the replay buffer.
        num_envs: environments side by side.
        learning_starts: model steps of random actions at first; at least the longest episode, which hindsight needs.
        train_freq, gradient_steps: model steps (of each environment) between updates, and how many updates then.
        batch_size, learning_rate, gamma, net_arch: as in Stable-Baselines3.
        num_goals: hindsight goals for each true one in a batch.
        checkpoint_every: model steps between checkpoints.
        progress: show a progress bar.

    Raises:
        ValueError: ``learning_starts`` is shorter than the longest episode.
    """
    task = get_task(task_id)
    longest = -(-task.max_steps // task.action_block)
    require_at_least(longest * num_envs, learning_starts=learning_starts)
    net_arch = tuple(net_arch)
    settings = {
        "learning_starts": learning_starts, "train_freq": train_freq, "gradient_steps": gradient_steps,
        "batch_size": batch_size, "learning_rate": learning_rate, "gamma": gamma,
    }  # fmt: skip

    def build(env: VecNormalize) -> SAC:
        return SAC(
            POLICY,
            env,
            **settings,
            buffer_size=num_steps,
            replay_buffer_class=HerReplayBuffer,
            replay_buffer_kwargs={"n_sampled_goal": num_goals},
            policy_kwargs={"net_arch": list(net_arch)},
            seed=seed,
            device="cpu",
        )

    run = OnlineRun(
        algorithm=NAME,
        task_id=task.id,
        seed=seed,
        num_steps=num_steps,
        checkpoint_every=checkpoint_every,
        num_envs=num_envs,
        reward="sparse",
        settings={**settings, "net_arch": net_arch, "num_goals": num_goals},
    )
    train_online(run, build, directory=Path(directory), progress=progress)


class SACAgent(OnlineAgent):
    """Acts with the mean of a SAC policy."""

    def __init__(self, *, task_id: str, policy: Path) -> None:
        super().__init__(task_id=task_id, policy=policy, algorithm=SAC, name=NAME)
