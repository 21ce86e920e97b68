"""PPO (Schulman et al., 2017) of Stable-Baselines3, by default with the dense reward.

On-policy methods cannot relabel goals, so this baseline uses a shaped reward: minus the distance to
the goal, scaled to returns of unit variance. It acts at the rate of the world models (one action
per block). Gamma, lambda, epochs and clipping are those that RL Baselines3 Zoo publishes for
continuous control. To suit a CPU, ours uses eight environments and two layers of 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from jepabench.agents.model_free.online.algorithms import Algorithm, SB3Config
from jepabench.agents.model_free.online.training import train_online
from jepabench.envs.task import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig(SB3Config):
    """Settings of a PPO run. ``num_steps`` is rounded up to whole rollouts.

    Attributes:
        rollout_steps: Number of model steps of each environment between updates.
        num_epochs, gae_lambda, ent_coef: See Stable-Baselines3.
        sde_sample_freq: If above 0, use state-dependent exploration (gSDE) and sample its noise
            again after this number of model steps.
    """

    reward: str = "dense"
    num_steps: int = 100_000
    num_envs: int = 8
    checkpoint_every: int = 20_480
    rollout_steps: int = 128
    num_epochs: int = 10
    gae_lambda: float = 0.95
    ent_coef: float = 0.0
    sde_sample_freq: int = 0


def describe_algorithm(config: PPOConfig, task: TaskSpec, pixels: bool) -> Algorithm:
    """Return the algorithm of a run."""
    del task, pixels
    settings = {
        "n_steps": config.rollout_steps,
        "n_epochs": config.num_epochs,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "gamma": config.gamma,
        "gae_lambda": config.gae_lambda,
        "ent_coef": config.ent_coef,
    }
    if config.sde_sample_freq:
        settings |= {"use_sde": True, "sde_sample_freq": config.sde_sample_freq}
    policy = {"net_arch": list(config.net_arch)}
    return Algorithm(name="ppo", settings=settings, recorded={}, policy=policy)


train = partial(train_online, PPOConfig, describe_algorithm)
