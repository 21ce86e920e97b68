"""What the Stable-Baselines3 baselines share: training episodes, segments that resume to the last bit, and acting.

Stable-Baselines3 draws from the global generators of Python, numpy and torch, so ``train`` seeds those: run it in a
process of its own. Training is cut into segments. Each begins by seeding from (seed, steps so far) and with new
episodes, and ends with a checkpoint; a killed run that is started again therefore ends with the weights of one that
was not.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.her import HerReplayBuffer
from tqdm import tqdm

from jepabench.agents.base import ActionQueue, check_specs
from jepabench.agents.model_free.online.observations import View, make_view
from jepabench.agents.model_free.run_folder import close_run, open_run, read_run
from jepabench.envs.core.action_block import ActionBlock
from jepabench.envs.core.goal_env import Observation
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.envs.task import TaskSpec, load_entry_point

POLICY = "MultiInputPolicy"
BUDGETS = (
    1000,
    3000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
)  # transitions at which policies are saved
ALGORITHMS = {
    "sac": "stable_baselines3:SAC",
    "td3": "stable_baselines3:TD3",
    "ppo": "stable_baselines3:PPO",
    "tqc": "sb3_contrib:TQC",
}
_MOMENTS = ("mean", "var", "count")


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Returns a Stable-Baselines3 algorithm.

    Raises:
        UnknownNameError: no such algorithm.
        ModuleNotFoundError: it is in sb3-contrib, which is not installed.
    """
    if name not in ALGORITHMS:
        raise unknown_name("algorithm", name, ALGORITHMS)
    try:
        return load_entry_point(ALGORITHMS[name])
    except ModuleNotFoundError as error:
        message = f"{name!r} is in sb3-contrib, which is not installed. Run: pip install 'jepabench[contrib]'"
        raise ModuleNotFoundError(message) from error


class TrainingEpisodes(gymnasium.Wrapper[Observation, NDArray[Any], Observation, NDArray[Any]]):
    """A task at the rate of model steps whose resets go through the training episodes, one stratum after the other.

    ``reset(seed=s)`` starts a new sequence of episodes; ``reset()`` goes on with it. All are of the ``train`` split.
    """

    def __init__(self, task: TaskSpec, *, reward: str, view: View | None = None) -> None:
        self.view = view or View(task)
        self.block = ActionBlock(make(task.id, reward=reward, pixels=self.view.pixels))
        super().__init__(self.block)
        self.observation_space = self.view.space  # pyright: ignore[reportAttributeAccessIssue]
        self.task, self._num_episodes = task, 0
        self._rng = np.random.default_rng(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts the next training episode; ``options`` are not used."""
        del options
        if seed is not None:
            self._rng, self._num_episodes = np.random.default_rng(seed), 0
        stratum = self.task.strata[self._num_episodes % len(self.task.strata)]
        self._num_episodes += 1
        spec = EpisodeSpec(self.task.id, "train", stratum, int(self._rng.integers(2**62)))
        seen, info = reset_to(self.block.goal_env, spec)
        self._seen = self.view(seen)
        return self._seen, info

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Takes one block."""
        seen, reward, terminated, truncated, info = self.block.step(action)
        self._seen = self.view(seen, self._seen)
        return self._seen, reward, terminated, truncated, info

    def compute_reward(
        self, achieved_goal: NDArray[Any], desired_goal: NDArray[Any], info: Any
    ) -> NDArray[np.float64]:
        """Returns the reward; hindsight replay asks the outermost wrapper for it."""
        own = slice(self.view.num_coordinates)
        return self.block.compute_reward(achieved_goal[..., own], desired_goal[..., own], info)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineRun:
    """What every online training run is told.

    Attributes:
        algorithm: its name.
        task_id: the task, by its full id.
        seed: of everything.
        num_steps: environment interaction in model steps (blocks).
        checkpoint_every: model steps of a segment.
        num_envs: environments side by side in this process.
        reward: ``sparse`` or ``dense``.
        inputs, world_model, image_size: what the policy sees, and of which model (``views``).
        budgets: transitions at which the policy is saved.
        settings: the algorithm's own, recorded with the result.
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
    run: OnlineRun,
    build: Callable[[VecNormalize], BaseAlgorithm],
    view: View,
    *,
    directory: Path,
    progress: bool,
) -> None:
    """Trains, or goes on training, and leaves a policy in ``directory`` and one a budget in ``directory/budgets``.

    A policy is ``policy.safetensors``, ``normalisation.npz`` and ``training.json``.

    Raises:
        ValueError: the folder holds another run, or the task gives no rewards.
        UnknownNameError: no such reward.
    """
    task = get_task(run.task_id)
    check_rewards(task, run.reward)
    if open_run(directory, asdict(run)):
        return
    env = VecNormalize(
        DummyVecEnv(
            [lambda: TrainingEpisodes(task, reward=run.reward, view=copy.copy(view))] * run.num_envs
        ),
        norm_obs=bool(view.normalised),
        norm_reward=run.reward == "dense",
        norm_obs_keys=view.normalised,
        gamma=run.settings["gamma"],
    )
    model, seconds = _resume(build(env), env, directory)
    model.set_logger(configure(str(directory / "tensorboard"), ["tensorboard"]))
    began = time.monotonic() - seconds
    saver = _Saver(run, env, directory, began)
    with tqdm(
        total=run.num_steps,
        initial=model.num_timesteps,
        desc="train",
        unit="step",
        disable=not progress,
    ) as bar:
        while model.num_timesteps < run.num_steps:
            model.set_random_seed(_segment_seed(run.seed, model.num_timesteps))
            model._last_obs = None  # a segment starts with new episodes, drawn from its own seed
            steps = min(run.checkpoint_every, run.num_steps - model.num_timesteps)
            model.learn(steps, callback=[_Progress(bar), saver], reset_num_timesteps=False)
            _close_episodes(model)
            if model.num_timesteps < run.num_steps:
                _save_checkpoint(model, env, directory, time.monotonic() - began)
    _save_policy(model, env, directory, run, time.monotonic() - began)
    for checkpoint in directory.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    env.close()


def check_rewards(task: TaskSpec, reward: str) -> None:
    """Makes sure that a task can be learned from.

    Raises:
        UnknownNameError: no such reward.
        ValueError: the task has none, or gives it for one goal at a time only.
    """
    world = make(task.id, reward=reward)
    goals = np.stack([world.reset(seed=0)[0]["achieved_goal"]] * 2)
    try:
        found = np.asarray(world.compute_reward(goals, goals, {}))
    except NotImplementedError:
        found = np.array(None)
    world.close()
    if found.shape != (2,) or not np.isfinite(found.astype(np.float64)).all():
        raise ValueError(
            f"{task.id} gives no {reward} reward that can be computed for a batch of goals [N, G], so nothing can be "
            "learned from it online. Implement distance() and is_success() for batches, or use an offline method."
        )


def _segment_seed(seed: int, num_steps: int) -> int:
    """Returns 31 bits (what all of Stable-Baselines3's generators take) that depend on both numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{num_steps}".encode()).digest()[:4], "big") >> 1


class _Progress(BaseCallback):
    def __init__(self, bar: Any) -> None:
        super().__init__()
        self._bar = bar

    def _on_step(self) -> bool:
        self._bar.update(self.model.num_timesteps - self._bar.n)
        return True


class _Saver(BaseCallback):
    """Saves the policy when a budget of transitions is reached."""

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
                shutil.rmtree(
                    folder, ignore_errors=True
                )  # a killed run that is resumed makes it again
                partial.replace(folder)
        return True


def budget_folder(directory: Path, budget: int) -> Path:
    """Returns where a run keeps the policy that it had after ``budget`` transitions."""
    return directory / "budgets" / f"{budget:09d}"


def _save_policy(
    model: BaseAlgorithm, env: VecNormalize, directory: Path, run: OnlineRun, seconds: float
) -> None:
    # Actor and critic may share an encoder; the file has no references, so each gets a copy.
    weights = {name: value.clone() for name, value in model.policy.state_dict().items()}
    save_file(weights, directory / "policy.safetensors")
    _save_statistics(env, directory / "normalisation.npz")
    cost = {
        "model_steps": model.num_timesteps,
        "transitions": model.num_timesteps * get_task(run.task_id).action_block,
        "train_seconds": seconds,
        "parameters": sum(parameter.numel() for parameter in model.policy.parameters()),
    }
    close_run(directory, asdict(run), cost)


def _close_episodes(model: BaseAlgorithm) -> None:
    """Marks unfinished episodes in a hindsight buffer as cut off, since the next segment starts new ones."""
    buffer = getattr(model, "replay_buffer", None)
    if isinstance(buffer, HerReplayBuffer):
        with warnings.catch_warnings():  # it warns of doing what it was asked to do
            warnings.simplefilter("ignore")
            buffer.truncate_last_trajectory()


def _statistics(env: VecNormalize) -> dict[str, Any]:
    """Returns the running moments that inputs and returns are normalised with, by name."""
    seen = env.obs_rms if env.norm_obs else {}
    return {**seen, "return": env.ret_rms}  # pyright: ignore[reportGeneralTypeIssues]


def _save_statistics(env: VecNormalize, path: Path) -> None:
    statistics = _statistics(env).items()
    np.savez(
        path,
        **{
            f"{key}_{name}": getattr(moments, name)
            for key, moments in statistics
            for name in _MOMENTS
        },
    )


def _save_checkpoint(
    model: BaseAlgorithm, env: VecNormalize, directory: Path, seconds: float
) -> None:
    """Writes a complete new checkpoint folder, then removes the older ones."""
    partial = directory / "partial-checkpoint"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    model.save(
        partial / "model.zip", exclude=["_last_obs", "_last_original_obs", "_last_episode_starts"]
    )
    _save_statistics(env, partial / "normalisation.npz")
    if isinstance(model, OffPolicyAlgorithm):
        model.save_replay_buffer(partial / "replay_buffer.pkl")
    (partial / "progress.json").write_text(json.dumps({"train_seconds": seconds}), encoding="utf-8")
    final = directory / f"checkpoint-{model.num_timesteps:012d}"
    partial.replace(final)
    for older in directory.glob("checkpoint-*"):
        if older != final:
            shutil.rmtree(older)


def _resume(
    model: BaseAlgorithm, env: VecNormalize, directory: Path
) -> tuple[BaseAlgorithm, float]:
    """Returns the newest checkpoint and the seconds that were spent on it; without any, ``model`` and none."""
    checkpoints = sorted(directory.glob("checkpoint-*"))
    if not checkpoints:
        return model, 0.0
    newest = checkpoints[-1]
    model = type(model).load(newest / "model.zip", env=env, device=model.device)
    if isinstance(model, OffPolicyAlgorithm):
        model.load_replay_buffer(newest / "replay_buffer.pkl")
    with np.load(newest / "normalisation.npz") as saved:
        for key, moments in _statistics(env).items():
            for name in _MOMENTS:
                setattr(moments, name, saved[f"{key}_{name}"][()])
    return model, json.loads((newest / "progress.json").read_text(encoding="utf-8"))[
        "train_seconds"
    ]


class OnlineAgent:
    """Acts with a policy that ``train_online`` left: the mean action, one forward pass at each block boundary.

    Args:
        task_id: the task.
        policy: the folder.
        world_model: folder of the frozen model, if the policy was trained on latents.

    Raises:
        ValueError: the folder holds a policy of another task, on other inputs or another model's latents, or none.
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
        # Made from its class and plain weights: Stable-Baselines3's own files are pickles, which can run code.
        self.policy = algorithm_class(content["algorithm"]).policy_aliases[POLICY](
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
        """Starts B new episodes."""
        check_specs(self.task, specs)
        self._queue.reset(len(specs))
        self._seen: list[Observation | None] = [None] * len(specs)

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Returns control actions [B, A]."""
        # One row at a time: a matrix product rounds differently in another batch size.
        for episode in self._queue.empty(active):
            shown = {key: observations[key][episode] for key in self.observation_keys}
            seen = self._seen[episode] = self._view(shown, self._seen[episode])
            seen = seen | {key: self._normalised(key, seen[key]) for key in self._moments}
            action, _ = self.policy.predict(seen, deterministic=True)  # pyright: ignore[reportArgumentType]
            self._queue.put(episode, np.asarray(action)[None])
        return self._queue.take(active)

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zero [B]: nothing is imagined."""
        return np.zeros(len(self._queue.steps), dtype=np.int64)

    def _normalised(self, key: str, values: NDArray[Any]) -> NDArray[np.float32]:
        """As ``VecNormalize`` does in training."""
        mean, var = self._moments[key]
        return np.clip((values - mean) / np.sqrt(var + 1e-8), -10.0, 10.0).astype(np.float32)
