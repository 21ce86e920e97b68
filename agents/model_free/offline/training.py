"""What the offline baselines share: one training loop over hindsight goals, and one way to act.

Each method is a short file with a ``GoalPolicy``: its networks and its loss. None sees a reward; all look at the same
inputs: the low-dimensional state with the goal, the frozen latents of a world model, or frames through an encoder of
their own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from jepabench.agents.base import ActionQueue, check_specs
from jepabench.agents.encoding import Features, Table
from jepabench.agents.model_free.offline.hindsight import (
    GoalBatch,
    GoalMixture,
    HindsightPairs,
    Tables,
    Windows,
)
from jepabench.agents.model_free.offline.networks import Eyes, OfflineConfig, Sizes, Standardise
from jepabench.agents.model_free.run_folder import close_run, open_run, read_run
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.errors import unknown_name
from jepabench.envs.files import atomic_write
from jepabench.envs.registry import get_task
from jepabench.envs.splits import EpisodeSpec
from jepabench.world_models.checkpoint import fingerprint, load_world_model, save_training_state
from jepabench.world_models.training.batches import step_generators


class GoalPolicy(nn.Module):
    """The interface of an offline method: networks over (now, goal) in normalised model-step actions, and their loss.

    Attributes:
        name: of the algorithm.
        config_type: its settings.
        value_goals: what a value function is asked about.
        num_arrivals: times of arrival that it can be told, 1 for a policy that is told none.
        history: vectors that make up the present D, the newest at the end; the first of an episode is repeated before it.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[OfflineConfig]] = OfflineConfig
    value_goals: ClassVar[GoalMixture] = GoalMixture()
    num_arrivals: int = 1
    action_low: Tensor
    action_high: Tensor

    def __init__(self, sizes: Sizes, config: Any) -> None:
        super().__init__()
        self.sizes, self.config, self.history = sizes, config, config.history or 1
        self.eyes = Eyes(sizes, config.encoder, self.history)
        self.action_scale = Standardise(sizes.action)
        self.register_buffer("action_low", -torch.ones(sizes.action))
        self.register_buffer("action_high", torch.ones(sizes.action))

    def loss(self, batch: GoalBatch, generator: torch.Generator) -> Tensor:
        """Returns the loss of a batch; all its random numbers come from ``generator``."""
        raise NotImplementedError

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns normalised actions [N, A] for what is seen now and as a goal."""
        raise NotImplementedError

    def decide_in(self, now: Tensor, goal: Tensor, steps: Tensor) -> Tensor:
        """Returns normalised actions [N, A] that arrive after so many model steps, int64 [N], where a policy can be told."""
        del steps
        return self.decide(now, goal)

    def after_step(self) -> None:
        """Called after each gradient step, to move target networks. Does nothing by itself."""

    def pair(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns present and goal as one vector [N, D + D']."""
        return torch.cat([self.eyes.now(now), self.eyes.goal(goal)], dim=1)

    def bounded(self, free: Tensor) -> Tensor:
        """Squashes what a network gives [..., A] into the range of the data's actions, beyond which no value was learned."""
        return self.action_low + (self.action_high - self.action_low) * (torch.tanh(free) + 1) / 2


def train_policy(
    policy_type: type[GoalPolicy],
    *,
    task_id: str,
    dataset: Path,
    directory: Path,
    seed: int,
    world_model: Path | None = None,
    pixels: bool = False,
    progress: bool = True,
    **config: Any,
) -> None:
    """Trains an offline policy and leaves ``policy.safetensors`` and ``training.json`` in ``directory``.

    Batches are a function of (seed, step), so a killed run that is started again ends with the same weights.

    Args:
        policy_type: the method.
        task_id: the task.
        dataset: folder of the data.
        directory: where the result and the resumable state go.
        seed: of the initialisation and the batches.
        world_model: folder of a frozen model, for a policy on its latents.
        pixels: train an encoder of frames along with the policy.
        progress: show a progress bar.
        config: settings of ``policy_type.config_type``.

    Raises:
        ValueError: the dataset is of another task or without frames that are needed, or a setting can not work.
        UnknownNameError: no such setting.
    """
    data, task = EpisodeDataset.open(Path(dataset)), get_task(task_id)
    if data.manifest.task_id != task.id:
        raise ValueError(
            f"The dataset {dataset} is of {data.manifest.task_id!r}, not of {task.id!r}. Collect one."
        )
    features = _features(task.id, world_model, pixels)
    settings = _settings(policy_type, features, config)
    run = {
        "algorithm": policy_type.name,
        "task_id": task.id,
        "seed": seed,
        "config": asdict(settings),
        "inputs": features.inputs,
        "world_model": fingerprint(world_model) if world_model else None,
        "dataset_fingerprint": data.manifest.fingerprint,
    }
    directory = Path(directory)
    if open_run(directory, run):
        return
    if world_model:
        seen = _latents(
            Path(world_model), run["world_model"], Path(dataset), data.manifest.fingerprint
        )
    else:
        seen = features.tables(data)
    policy, tables = _prepare(policy_type, settings, data, seen, features.inputs, seed)
    seconds = _descend(
        policy,
        tables,
        HindsightPairs(data, max_steps=settings.max_goal_steps),
        seed,
        directory,
        progress,
    )
    weights = {
        name: value.contiguous() for name, value in policy.state_dict().items()
    }  # frames are channels-last
    with atomic_write(directory / "policy.safetensors") as partial:
        save_file(weights, partial)
    cost = {
        "sizes": list(policy.sizes),
        "train_seconds": seconds,
        "transitions": int(data.lengths.sum()) * task.action_block,
        "model_steps": int(data.lengths.sum()),
        "parameters": sum(parameter.numel() for parameter in policy.parameters()),
    }
    close_run(directory, run, cost)
    (directory / "training.pt").unlink(missing_ok=True)


def _settings(
    policy_type: type[GoalPolicy], features: Features, config: Mapping[str, Any]
) -> OfflineConfig:
    known = list(policy_type.config_type.__dataclass_fields__)
    for name in config:
        if name not in known:
            raise unknown_name(f"setting of {policy_type.name}", name, known)
    settings = policy_type.config_type(**config)
    history = settings.history or (features.model.history if features.model else 1)
    if features.inputs == "pixels" and history > 1:
        raise ValueError(
            f"A policy on frames looks at one frame, got history={history}. Train it on latents, or with history=1."
        )
    return replace(settings, history=history)


def _features(task_id: str, world_model: Path | None, pixels: bool) -> Features:
    if world_model and pixels:
        raise ValueError(
            "A policy sees the latents of a world model or frames, not both: leave out pixels."
        )
    return Features(
        load_world_model(Path(world_model), task_id=task_id).model if world_model else None,
        pixels=pixels,
    )


@lru_cache(maxsize=1)  # one policy after the other is trained on the same latents
def _latents(world_model: Path, weights: str, dataset: Path, content: str) -> tuple[Table, Table]:
    del weights, content  # fingerprints: they tell apart what was in the same folders
    return Features(load_world_model(world_model).model).tables(EpisodeDataset.open(dataset))


def _prepare(
    policy_type: type[GoalPolicy],
    settings: OfflineConfig,
    data: EpisodeDataset,
    seen: tuple[Table, Table],
    inputs: str,
    seed: int,
) -> tuple[GoalPolicy, Tables]:
    """Returns a new policy that knows the scales of the data, and the data as it sees it."""
    (now, goal), history = seen, settings.history or 1
    action = torch.from_numpy(np.array(data.field("action"), np.float32))
    frame = now.shape[1] if inputs == "pixels" else 0
    now_size, goal_size = (
        (settings.hidden_size,) * 2 if frame else (history * now.shape[1], goal.shape[1])
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        policy = policy_type(Sizes(now_size, goal_size, action.shape[1], frame), settings)
    if isinstance(now, Tensor) and isinstance(goal, Tensor):
        policy.eyes.now_scale.fit(now)
        policy.eyes.goal_scale.fit(goal)
        now = Windows(now, data, history)
    mean, std = (torch.as_tensor(values) for values in data.action_statistics())
    policy.action_scale.mean.copy_(mean)
    policy.action_scale.std.copy_(std)
    action = policy.action_scale(action)
    policy.action_low.copy_(action.amin(0))
    policy.action_high.copy_(action.amax(0))
    return policy, Tables(now, goal, action)


def _descend(
    policy: GoalPolicy,
    tables: Tables,
    pairs: HindsightPairs,
    seed: int,
    directory: Path,
    progress: bool,
) -> float:
    """Minimises the policy's loss, from ``directory/training.pt`` on if a killed run left one; returns seconds in all."""
    config: OfflineConfig = policy.config
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate)
    state_path, first, seconds = directory / "training.pt", 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        policy.load_state_dict(state["policy"])
        optimizer.load_state_dict(state["optimizer"])
        first, seconds = state["step"], state["seconds"]
    writer, began = (
        SummaryWriter(str(directory / "tensorboard"), purge_step=first),
        time.monotonic(),
    )
    steps = range(first, config.num_steps)
    for step in tqdm(
        steps,
        desc="train",
        unit="step",
        initial=first,
        total=config.num_steps,
        disable=not progress,
    ):
        rng, generator = step_generators(seed, step)
        rows = pairs.sample(config.batch_size, rng)
        value_rows = pairs.value_goals(
            rows[0], policy.value_goals, discount=_discount(config), rng=rng
        )
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.num_steps)
        loss = policy.loss(GoalBatch(tables, pairs, rows, value_rows), generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        policy.after_step()
        if step % 50 == 0:
            writer.add_scalar("loss", float(loss.detach()), step)
        if (step + 1) % config.checkpoint_every == 0:
            state = {
                "policy": policy.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
                "seconds": seconds + time.monotonic() - began,
            }
            save_training_state(state_path, state)
    writer.close()
    return seconds + time.monotonic() - began


def _discount(config: OfflineConfig) -> float:
    return getattr(config, "discount", 0.95)


def load_policy(
    directory: Path,
    kinds: Sequence[type[GoalPolicy]],
    *,
    task_id: str,
    inputs: str,
    world_model: Path | None = None,
) -> GoalPolicy:
    """Returns the policy in a folder that ``train_policy`` wrote, ready to act, if it is of one of these kinds.

    Raises:
        ValueError: the folder holds another algorithm, task or kind of input, or a policy on the latents of another model.
    """
    by_name = {kind.name: kind for kind in kinds}
    found = read_run(Path(directory))["algorithm"]
    name = found if found in by_name else next(iter(by_name))
    latents = fingerprint(world_model) if world_model else None
    content = read_run(
        Path(directory), algorithm=name, task_id=task_id, inputs=inputs, world_model=latents
    )
    policy = by_name[name](Sizes(*content["sizes"]), by_name[name].config_type(**content["config"]))
    policy.load_state_dict(load_file(Path(directory) / "policy.safetensors"))
    return policy.eval().requires_grad_(False)


class OfflineAgent:
    """Acts with an offline policy: one decision at each block boundary.

    Args:
        task_id: the task.
        policy: folder that ``train_policy`` wrote.
        world_model: folder of the frozen model, if the policy was trained on latents.
        pixels: whether it was trained on frames.

    Raises:
        ValueError: the folder holds another algorithm, task or kind of input, or a policy on the latents of another model.
    """

    policy_type: ClassVar[type[GoalPolicy]]

    def __init__(
        self, *, task_id: str, policy: Path, world_model: Path | None = None, pixels: bool = False
    ) -> None:
        self.task = get_task(task_id)
        self._features = _features(self.task.id, world_model, pixels)
        self.policy = load_policy(
            policy,
            [self.policy_type],
            task_id=self.task.id,
            inputs=self._features.inputs,
            world_model=world_model,
        )
        self.observation_keys: tuple[str, ...] = self._features.observation_keys
        self._queue = ActionQueue(task=self.task)
        OfflineAgent.reset(self, ())  # not that of an heir, which is not made yet

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Starts B new episodes."""
        check_specs(self.task, specs)
        self._queue.reset(len(specs))
        self._goals: dict[int, Tensor] = {}
        self._seen: dict[int, Tensor] = {}

    @torch.no_grad()
    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Returns control actions [B, A]."""
        # One row at a time: a matrix product rounds differently in another batch size.
        for episode in self._queue.empty(active):
            if episode not in self._goals:
                self._goals[episode] = self._features.goal(observations, episode)
            self._choose(episode, self._present(observations, episode), self._goals[episode])
        return self._queue.take(active)

    def _present(self, observations: Mapping[str, NDArray[Any]], episode: int) -> Tensor:
        """Returns what was seen at the last block boundaries [1, D]."""
        now = self._features.now(observations, episode)
        before = self._seen.get(episode, torch.cat([now] * self.policy.history, dim=1))
        self._seen[episode] = torch.cat([before[:, now.shape[1] :], now], dim=1)
        return self._seen[episode]

    def _choose(self, episode: int, now: Tensor, goal: Tensor) -> None:
        """Queues the next block of an episode."""
        scale = self.policy.action_scale
        self._queue.put(episode, (self.policy.decide(now, goal) * scale.std + scale.mean).numpy())

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zero [B]: nothing is imagined."""
        return np.zeros(len(self._queue.steps), dtype=np.int64)
