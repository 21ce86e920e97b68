"""Training and acting with Stable-Baselines3, shared by all online methods.

Stable-Baselines3 draws from the global generators of Python, numpy and torch, and ``train`` seeds
them: run it in a process of its own. Training is cut into segments. Each segment starts by seeding
from (seed, steps so far) and with new episodes, and ends with a checkpoint. A run that is
interrupted and resumed therefore ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.her import HerReplayBuffer
from tqdm import tqdm

from jepabench.agents.base import ActionQueue, check_specs
from jepabench.agents.model_free.online.algorithms import (
    POLICY,
    Algorithm,
    SB3Config,
    find_algorithm,
)
from jepabench.agents.model_free.online.checkpoints import (
    load_checkpoint,
    save_checkpoint,
    save_moments,
)
from jepabench.agents.model_free.online.episodes import TrainingEpisodes, check_rewards
from jepabench.agents.model_free.online.observations import View, make_view
from jepabench.agents.model_free.run_folder import close_run, open_run, read_run, record_device
from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.core.goal_env import Observation
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec
from jepabench.envs.task import TaskSpec
from jepabench.world_models.settings import make_config
from jepabench.world_models.training.devices import find_device
from jepabench.world_models.training.tracking import TrackedRun

# Settings of ``SB3Config`` that an ``OnlineRun`` has under the same name.
_RECORDED = ("num_steps", "checkpoint_every", "num_envs", "reward", "image_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineRun:
    """Settings of an online training run.

    Attributes:
        algorithm: Name of the algorithm.
        task_id: Full id of the task.
        seed: Seed of everything.
        num_steps: Number of model steps (blocks) in the environment.
        checkpoint_every: Number of model steps per segment.
        num_envs: Number of environments, which are stepped together in this process.
        reward: Reward of the task, ``sparse`` or ``dense``.
        inputs: Kind of input, "state", "latents" or "pixels".
        world_model: Fingerprint of the model that encodes the input, or None.
        image_size: Side length of the frames in pixels.
        budgets: Numbers of transitions after which the policy is saved.
        settings: Settings of the algorithm, which are recorded with the result.
    """

    algorithm: str
    task_id: str
    seed: int
    num_steps: int
    checkpoint_every: int
    num_envs: int
    reward: str
    inputs: str
    world_model: str | None
    image_size: int
    budgets: tuple[int, ...]
    settings: Mapping[str, Any]


def train_online(
    config_type: type[SB3Config],
    describe: Callable[[Any, TaskSpec, bool], Algorithm],
    *,
    task_id: str,
    directory: Path,
    seed: int,
    world_model: Path | None = None,
    pixels: bool = False,
    progress: bool = True,
    **config: Any,
) -> None:
    """Train a policy by reinforcement learning, or resume its training.

    Writes a policy into ``directory`` and one per budget into ``directory/budgets``. A policy is
    ``policy.safetensors``, ``normalisation.npz`` and ``training.json``.

    Args:
        config_type: Class of the settings.
        describe: Function that returns the algorithm for settings, a task and ``pixels``.
        task_id: Id of the task.
        directory: Folder for the policies and checkpoints.
        seed: Seed of everything.
        world_model: Folder of a frozen model, for a policy on its latents; None for state or
            frames.
        pixels: Whether the policy uses frames.
        progress: Whether to show a progress bar.
        config: Fields of ``config_type``.

    Raises:
        UnknownNameError: There is no such setting, algorithm or reward.
        ModuleNotFoundError: The algorithm needs a package that is not installed.
        ValueError: A setting is out of range, the folder holds another run, or the task has no
            reward.
    """
    options, task = make_config("training setting", config_type, config), get_task(task_id)
    algorithm = describe(options, task, pixels)
    view = make_view(task, world_model=world_model, pixels=pixels, size=options.image_size)
    run = OnlineRun(
        algorithm=algorithm.name,
        task_id=task.id,
        seed=seed,
        inputs=view.inputs,
        world_model=view.world_model,
        budgets=tuple(options.budgets),
        settings=algorithm.settings
        | algorithm.recorded
        | {"policy": algorithm.policy}
        | record_device(options.device),
        **{name: getattr(options, name) for name in _RECORDED},
    )
    build = partial(_build, algorithm, view, seed, find_device(options.device))
    _learn(run, build, view, directory=Path(directory), progress=progress)


def _build(
    algorithm: Algorithm, view: View, seed: int, device: torch.device, env: VecNormalize
) -> BaseAlgorithm:
    return find_algorithm(algorithm.name)(
        POLICY,
        env,
        **algorithm.settings,
        **algorithm.choose_parts(env, view),
        policy_kwargs=algorithm.policy | view.policy,
        seed=seed,
        device=device,
    )


def _learn(
    run: OnlineRun,
    build: Callable[[VecNormalize], BaseAlgorithm],
    view: View,
    *,
    directory: Path,
    progress: bool,
) -> None:
    """Train or resume, with one seed per segment."""
    task = get_task(run.task_id)
    check_rewards(task, run.reward)
    if open_run(directory, asdict(run)):
        return
    env = _make_env(run, task, view)
    model, seconds = load_checkpoint(build(env), env, directory)
    began = time.monotonic() - seconds
    budgets = _BudgetCallback(run, env, directory, began)
    first, total = model.num_timesteps, run.num_steps
    with (
        _log_curves(model, directory),
        tqdm(None, "train", total, unit="step", initial=first, disable=not progress) as bar,
    ):
        while model.num_timesteps < run.num_steps:
            model.set_random_seed(_derive_seed(run.seed, model.num_timesteps))
            model._last_obs = None  # a segment starts new episodes, drawn from its own seed
            steps = min(run.checkpoint_every, run.num_steps - model.num_timesteps)
            model.learn(
                steps, callback=[_ProgressCallback(bar), budgets], reset_num_timesteps=False
            )
            _truncate_episodes(model)
            if model.num_timesteps < run.num_steps:
                save_checkpoint(model, env, directory, time.monotonic() - began)
    _save_policy(model, env, directory, run, time.monotonic() - began)
    for checkpoint in directory.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    env.close()


@contextmanager
def _log_curves(model: BaseAlgorithm, directory: Path) -> Iterator[None]:
    """Send the scalars of Stable-Baselines3 to TensorBoard and to the active tracker."""
    folder = str(directory / "tensorboard")
    logger = Logger(folder, [TensorBoardOutputFormat(folder), _TrackerOutput(directory)])
    model.set_logger(logger)
    try:
        yield
    finally:
        logger.close()


class _TrackerOutput(KVWriter):
    def __init__(self, directory: Path) -> None:
        self._run = TrackedRun.start(directory)

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        del key_excluded  # names of other outputs
        scalars = (int, float, np.integer, np.floating)
        values = {
            key: float(value) for key, value in key_values.items() if isinstance(value, scalars)
        }
        self._run.log(values, step)

    def close(self) -> None:
        self._run.close()


def _make_env(run: OnlineRun, task: TaskSpec, view: View) -> VecNormalize:
    def make_episodes() -> TrainingEpisodes:
        return TrainingEpisodes(task, reward=run.reward, view=copy.copy(view))

    return VecNormalize(
        DummyVecEnv([make_episodes] * run.num_envs),
        norm_obs=bool(view.normalised),
        norm_reward=run.reward == "dense",
        norm_obs_keys=view.normalised,
        gamma=run.settings["gamma"],
    )


def _derive_seed(seed: int, num_steps: int) -> int:
    """Return 31 bits, the limit of Stable-Baselines3's generators, that depend on both numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{num_steps}".encode()).digest()[:4], "big") >> 1


class _ProgressCallback(BaseCallback):
    def __init__(self, bar: Any) -> None:
        super().__init__()
        self._bar = bar

    def _on_step(self) -> bool:
        self._bar.update(self.model.num_timesteps - self._bar.n)
        return True


class _BudgetCallback(BaseCallback):
    """Saves the policy whenever a budget of transitions is reached."""

    def __init__(self, run: OnlineRun, env: VecNormalize, directory: Path, began: float) -> None:
        super().__init__()
        self._run, self._env, self._directory, self._began = run, env, directory, began
        self._block = get_task(run.task_id).action_block

    def _on_step(self) -> bool:
        after = self.model.num_timesteps
        before = after - self._env.num_envs
        for budget in self._run.budgets:
            if before * self._block < budget <= after * self._block:
                folder = budget_folder(self._directory, budget)
                partial = folder.with_name("partial")
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
                _save_policy(
                    self.model, self._env, partial, self._run, time.monotonic() - self._began
                )
                shutil.rmtree(folder, ignore_errors=True)  # from before an interruption
                partial.replace(folder)
        return True


def budget_folder(directory: Path, budget: int) -> Path:
    """Return the folder of the policy that a run had after ``budget`` transitions."""
    return directory / "budgets" / f"{budget:09d}"


def _save_policy(
    model: BaseAlgorithm, env: VecNormalize, directory: Path, run: OnlineRun, seconds: float
) -> None:
    # Actor and critic may share an encoder. The file has no references, so each gets a copy.
    weights = {name: value.clone() for name, value in model.policy.state_dict().items()}
    save_file(weights, directory / "policy.safetensors")
    save_moments(env, directory / "normalisation.npz")
    cost = {
        "model_steps": model.num_timesteps,
        "transitions": model.num_timesteps * get_task(run.task_id).action_block,
        "train_seconds": seconds,
        "parameters": sum(parameter.numel() for parameter in model.policy.parameters()),
    }
    close_run(directory, asdict(run), cost)


def _truncate_episodes(model: BaseAlgorithm) -> None:
    """Truncate unfinished episodes of a hindsight buffer, since a segment starts new ones."""
    if isinstance(model, OffPolicyAlgorithm) and isinstance(model.replay_buffer, HerReplayBuffer):
        with warnings.catch_warnings():  # it warns about the truncation
            warnings.simplefilter("ignore")
            model.replay_buffer.truncate_last_trajectory()


class OnlineAgent:
    """Acts with the mean action of a policy that ``train_online`` wrote, at each block boundary.

    Args:
        task_id: Id of the task.
        policy: Folder of the policy.
        world_model: Folder of the frozen model, for a policy that was trained on its latents.

    Raises:
        ValueError: The folder holds no policy, or one of another task, other inputs or the latents
            of another model.
    """

    def __init__(self, *, task_id: str, policy: Path, world_model: Path | None = None) -> None:
        self.task, policy = get_task(task_id), Path(policy)
        content = read_run(policy, task_id=self.task.id)
        on_pixels = content["inputs"] == "pixels" and world_model is None
        self._view = make_view(
            self.task, world_model=world_model, pixels=on_pixels, size=content["image_size"]
        )
        read_run(policy, inputs=self._view.inputs, world_model=self._view.world_model)
        self.observation_keys: tuple[str, ...] = self._view.world_keys
        env = ActionBlock(make(self.task.id))
        exploration = {"use_sde": True} if content["settings"].get("use_sde") else {}
        # Files of Stable-Baselines3 are pickles, which can run code. Build the policy instead.
        self.policy = find_algorithm(content["algorithm"]).policy_aliases[POLICY](
            self._view.space,
            env.action_space,
            lambda _: 0.0,  # pyright: ignore[reportArgumentType]
            **content["settings"]["policy"],
            **self._view.policy,
            **exploration,
        )
        env.close()
        self.policy.load_state_dict(load_file(policy / "policy.safetensors"))
        self.policy.set_training_mode(False)
        with np.load(policy / "normalisation.npz") as moments:
            self._moments = {
                key: (moments[f"{key}_mean"], moments[f"{key}_var"])
                for key in self._view.normalised
            }
        self._queue = ActionQueue(task=self.task)

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        check_specs(self.task, specs)
        self._queue.reset(len(specs))
        self._inputs: list[Observation | None] = [None] * len(specs)

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return control actions [B, A]."""
        # Not batched, because matrix products round differently for other batch sizes.
        for episode in self._queue.empty(active):
            shown = {key: observations[key][episode] for key in self.observation_keys}
            inputs = self._inputs[episode] = self._view(shown, self._inputs[episode])
            inputs = inputs | {key: self._normalise(key, inputs[key]) for key in self._moments}
            action, _ = self.policy.predict(inputs, deterministic=True)  # pyright: ignore[reportArgumentType]
            self._queue.put(episode, np.asarray(action)[None])
        return self._queue.take(active)

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zeros [B], since the policy has no world model."""
        return np.zeros(len(self._queue.steps), dtype=np.int64)

    def _normalise(self, key: str, values: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise as ``VecNormalize`` does in training."""
        mean, var = self._moments[key]
        return np.clip((values - mean) / np.sqrt(var + 1e-8), -10.0, 10.0).astype(np.float32)
