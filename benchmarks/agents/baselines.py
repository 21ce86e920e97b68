"""Measure the overhead over plain Stable-Baselines3 and compare returns with published ones.

    python benchmarks/agents/baselines.py overhead        CPU time against plain Stable-Baselines3
    python benchmarks/agents/baselines.py side-by-side    two seeds in two processes (idle machine)
    python benchmarks/agents/baselines.py identical       same weights as plain Stable-Baselines3
    python benchmarks/agents/baselines.py published       Pendulum-v1 against RL Baselines3 Zoo

Each command prints a table. ``published`` also writes one row per algorithm to
``results/tables/published.csv``; ``--algorithms td3`` runs only TD3. ``identical`` trains on the
PointMaze of gymnasium-robotics and needs the extra ``robotics``.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from stable_baselines3 import SAC
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.her import HerReplayBuffer
from tables import TABLES, write_rows

from jepabench.agents.model_free.online import off_policy, ppo
from jepabench.agents.model_free.online import training as online
from jepabench.agents.model_free.run_folder import read_run
from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.registry import get_task, make, register
from jepabench.envs.splits import EpisodeSpec
from jepabench.envs.task import TaskSpec

SETTINGS = {
    "learning_starts": 1000,
    "train_freq": 4,
    "gradient_steps": 2,
    "batch_size": 256,
    "learning_rate": 1e-3,
    "gamma": 0.95,
    "tau": 0.005,
}
# Hyperparameters of RL Baselines3 Zoo for Pendulum-v1, and the returns in its benchmark.md: mean
# and standard deviation over 750 episodes of one run.
_OFF_POLICY = partial(off_policy.train, num_steps=20_000)
_SAC = {"learning_starts": 100, "gamma": 0.99, "net_arch": (256, 256)}
_TD3 = {"learning_starts": 10_000, "gamma": 0.98, "net_arch": (400, 300)}
_PPO = {"num_envs": 4, "rollout_steps": 1024, "batch_size": 64, "gamma": 0.9, "sde_sample_freq": 4}
ZOO = {
    "sac": (partial(_OFF_POLICY, algorithm="sac", **_SAC), (-157.0, 88.7)),
    "td3": (partial(_OFF_POLICY, algorithm="td3", **_TD3), (-151.9, 90.2)),
    "ppo": (partial(ppo.train, num_steps=100_000, **_PPO), (-172.2, 104.2)),
}
PENDULUM, POINT_MAZE = "benchmark/Pendulum-v0", "benchmark/PointMaze-UMaze-v0"


class Foreign(gymnasium.Env):
    """Adapt a Gymnasium environment to the interface that training expects.

    An environment without goals gets constant ones. Every episode is reset with its own seed.

    Args:
        task: the spec under which the environment is registered.
        name: the Gymnasium id.
        reward: kept for the interface; the reward is the environment's own.
        pixels: ignored.
    """

    def __init__(
        self, task: TaskSpec, *, name: str, reward: str = "sparse", pixels: int | None = None
    ) -> None:
        del pixels
        if name.startswith("PointMaze"):
            import gymnasium_robotics

            gymnasium.register_envs(gymnasium_robotics)
        self.task, self.reward = task, reward
        self.env = gymnasium.make(name, max_episode_steps=task.max_steps)
        self.action_space, space = self.env.action_space, self.env.observation_space
        if not isinstance(space, spaces.Dict):
            nothing = spaces.Box(-1, 1, (1,))
            space = spaces.Dict(
                {"observation": space, "achieved_goal": nothing, "desired_goal": nothing}
            )
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        """Start an episode; ``options`` is ignored."""
        del options
        seen, info = self.env.reset(seed=None if seed is None else seed % 2**32)
        return self._convert(seen), info

    def step(self, action):
        """Take one step."""
        seen, reward, terminated, truncated, info = self.env.step(action)
        return self._convert(seen), float(reward), terminated, truncated, info

    def advance(self, actions):
        """Take a block of one step."""
        return self.step(actions[0])

    def compute_reward(self, achieved_goal, desired_goal, info):
        """Return the environment's own reward; never called for one without goals."""
        if np.shape(achieved_goal)[-1] == 1:
            return np.zeros(len(achieved_goal))
        world: Any = self.env.unwrapped
        return np.asarray(world.compute_reward(achieved_goal, desired_goal, info))

    def _convert(self, seen):
        return (
            seen
            if isinstance(seen, dict)
            else {
                "observation": seen,
                **dict.fromkeys(("achieved_goal", "desired_goal"), np.zeros(1, np.float32)),
            }
        )


def _register(task_id: str, name: str, max_steps: int) -> None:
    register(
        TaskSpec(
            id=task_id,
            family="benchmark",
            entry_point=f"{__name__}:Foreign",
            kwargs={"name": name},
            control_dt=0.1,
            max_steps=max_steps,
            strata=("all",),
            success="the environment's own",
            physics="gymnasium",
            behaviours={"random": ""},
        )
    )


_register(PENDULUM, "Pendulum-v1", 200)
_register(POINT_MAZE, "PointMaze_UMaze-v3", 200)


def main() -> None:
    """Run the chosen comparison and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("overhead", "side-by-side", "identical", "published"))
    parser.add_argument("--task", default="jepabench/TwoRoom-v1")
    parser.add_argument("--steps", type=int, default=4000, help="model steps per run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--algorithms", nargs="*", default=list(ZOO), choices=list(ZOO))
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the policies of `published`; an interrupted run resumes from it",
    )
    parser.add_argument("--tables", type=Path, default=TABLES, help="folder of the CSV file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        table = globals()[options.what.replace("-", "_")](options, Path(folder))
    Console(width=140).print(table)


def overhead(options: argparse.Namespace, folder: Path) -> Table:
    """Time SAC with hindsight here and in plain Stable-Baselines3, alternating, in CPU seconds."""
    ours, plain = [], []
    for repeat in range(options.repeats + 1):  # the first run is a warm-up
        steps = options.steps if repeat else 1100
        ours.append(
            _time(partial(_train, options.task, folder / f"ours-{repeat}", repeat, steps)) / steps
        )
        plain.append(
            _time(partial(_train_plain, _Bare(options.task), steps, repeat, folder / "plain"))
            / steps
        )
    table = Table(
        "training",
        "CPU ms a model step",
        "model steps a CPU second",
        title=f"SAC+HER on {options.task}, {options.steps} steps",
    )
    for name, times in (("plain Stable-Baselines3", plain), ("jepabench", ours)):
        median = statistics.median(times[1:])
        table.add_row(name, f"{1000 * median:.2f}", f"{1 / median:.0f}")
    ratios = [mine / theirs for mine, theirs in zip(ours[1:], plain[1:], strict=True)]
    each = ", ".join(f"{ratio - 1:+.1%}" for ratio in ratios)
    table.caption = f"overhead {statistics.median(ratios) - 1:+.1%} (each: {each})"
    return table


def side_by_side(options: argparse.Namespace, folder: Path) -> Table:
    """Time one seed alone and two seeds in two processes, in wall-clock seconds."""
    spawn, times = multiprocessing.get_context("spawn"), []
    for number in (1, 2):
        runs = [
            spawn.Process(
                target=_train, args=(options.task, folder / f"{number}-{seed}", seed, options.steps)
            )
            for seed in range(number)
        ]
        began = time.perf_counter()
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        times.append(time.perf_counter() - began)
    table = Table(
        "seeds at once",
        "seconds",
        "model steps a second",
        title=f"SAC+HER on {options.task}, {options.steps} steps a seed",
    )
    for number, seconds in zip((1, 2), times, strict=True):
        table.add_row(str(number), f"{seconds:.1f}", f"{number * options.steps / seconds:.0f}")
    table.caption = f"two seeds give {2 * times[0] / times[1]:.2f} times one"
    return table


def identical(options: argparse.Namespace, folder: Path) -> Table:
    """Train SAC on PointMaze here and in plain Stable-Baselines3, and compare the weights."""
    steps = min(options.steps, 5000)  # one segment; a second one would start new episodes
    off_policy.train(
        task_id=POINT_MAZE,
        directory=folder,
        seed=0,
        num_steps=steps,
        checkpoint_every=steps,
        progress=False,
    )
    ours = load_file(folder / "policy.safetensors")
    plain = _train_plain(
        SameEpisodes(), steps, online._derive_seed(0, 0), folder / "plain"
    ).policy.state_dict()
    equal = [name for name in ours if torch.equal(ours[name], plain[name])]
    table = Table(
        "weights", "equal to the bit", title=f"SAC+HER on PointMaze_UMaze-v3, {steps} steps"
    )
    table.add_row(str(len(ours)), str(len(equal)))
    return table


def published(options: argparse.Namespace, folder: Path) -> Table:
    """Train on Pendulum-v1 and compare the returns with those of RL Baselines3 Zoo."""
    folder = options.output or folder
    table = Table("algorithm", "return here", "published", "within its spread", title="Pendulum-v1")
    rows = []
    common = {
        "task_id": PENDULUM,
        "seed": 0,
        "reward": "sparse",
        "learning_rate": 1e-3,
        "budgets": (),
    }
    for name in options.algorithms:
        train, (mean, std) = ZOO[name]
        extra = {} if name == "ppo" else {"num_goals": 0, "train_freq": 1, "gradient_steps": 1}
        train(**common, **extra, directory=folder / name, progress=sys.stderr.isatty())
        found = play_episodes(
            online.OnlineAgent(task_id=PENDULUM, policy=folder / name), options.episodes
        )
        here, spread = float(np.mean(found)), float(np.std(found))
        table.add_row(
            name,
            f"{here:.1f} ± {spread:.1f}",
            f"{mean} ± {std}",
            "yes" if here > mean - std else "no",
        )
        rows.append(
            {
                "task": "Pendulum-v1",
                "algorithm": name,
                "steps": train.keywords["num_steps"],
                "seeds": 1,
                "episodes": len(found),
                "mean_return": here,
                "std_return": spread,
                "published_mean": mean,
                "published_std": std,
                "train_seconds": read_run(folder / name)["train_seconds"],
            }
        )
        write_rows(options.tables / "published.csv", rows, ["task", "algorithm"])
    return table


def play_episodes(agent: online.OnlineAgent, num_episodes: int) -> list[float]:
    """Play validation episodes and return the return of each."""
    world, found = make(agent.task.id), []
    for index in range(num_episodes):
        spec = EpisodeSpec(agent.task.id, "validation", "all", index)
        agent.reset([spec])
        seen, _ = world.reset(seed=spec.seed)
        total, over = 0.0, False
        while not over:
            action = agent.act(
                {key: np.asarray(value)[None] for key, value in seen.items()}, np.array([True])
            )[0]
            seen, reward, terminated, truncated, _ = world.step(action)
            total, over = total + float(reward), terminated or truncated
        found.append(total)
    return found


def _train(task_id: str, directory: Path, seed: int, steps: int) -> None:
    torch.set_num_threads(1)
    off_policy.train(
        task_id=task_id, directory=directory, seed=seed, num_steps=steps, progress=False
    )


def _train_plain(env: gymnasium.Env, steps: int, seed: int, folder: Path) -> SAC:
    """Train with plain Stable-Baselines3 and the settings of the preset."""
    world = VecNormalize(DummyVecEnv([lambda: env]), norm_reward=False, gamma=SETTINGS["gamma"])
    model = SAC(
        "MultiInputPolicy",
        world,
        **SETTINGS,
        buffer_size=steps,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4},
        policy_kwargs={"net_arch": [64, 64]},
        seed=0,
        device="cpu",
    )
    model.set_random_seed(seed)
    model.set_logger(configure(str(folder), []))  # otherwise a temporary folder is made
    return model.learn(steps)


class _Bare(ActionBlock):
    """Run an environment at the rate of model steps, with its own resets."""

    def __init__(self, task_id: str) -> None:
        super().__init__(make(get_task(task_id).id))


class SameEpisodes(gymnasium.Wrapper):
    """Start PointMaze of gymnasium-robotics with the seeds of the training episodes."""

    def __init__(self) -> None:
        adapted: Any = make(POINT_MAZE)
        super().__init__(adapted.env)
        self._rng = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        """Start the next episode."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        spec = EpisodeSpec(POINT_MAZE, "train", "all", int(self._rng.integers(2**62)))
        return self.env.reset(seed=spec.seed % 2**32, options=options)

    def compute_reward(self, achieved_goal, desired_goal, info):
        """Return the environment's own reward."""
        world: Any = self.env.unwrapped
        return world.compute_reward(achieved_goal, desired_goal, info)


def _time(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
