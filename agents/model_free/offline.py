"""What the offline baselines share: pairs of now and later from a dataset, one training loop, one way to act.

``gcbc.py`` and ``inverse.py`` each add a network and its loss. Neither sees a reward; both look at the same inputs: the
low-dimensional state with the goal, or the frozen latents of a world model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from agents.base import ActionQueue, check_specs
from agents.encoding import Features
from agents.model_free.run_folder import close_run, open_run, read_run
from agents.planners.base import require_at_least
from envs.episodes import EpisodeDataset
from envs.registry import get_task
from envs.splits import EpisodeSpec
from world_models.batches import step_generators
from world_models.checkpoint import load_world_model, save_training_state


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineConfig:
    """How an offline policy is trained.

    Attributes:
        num_steps: gradient steps.
        batch_size: pairs of a step.
        learning_rate: of Adam at the start; it falls linearly to 0.
        hidden_size, num_layers: of the networks.
        max_goal_steps: goals are the states of 1 to so many model steps later in the same episode.
        checkpoint_every: gradient steps between two states that a killed run resumes from.
    """

    num_steps: int = 3000
    batch_size: int = 256
    learning_rate: float = 1e-3
    hidden_size: int = 128
    num_layers: int = 3
    max_goal_steps: int = 16
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        require_at_least(1, **{name: value for name, value in asdict(self).items() if name != "learning_rate"})
        require_at_least(0, learning_rate=self.learning_rate)


class HindsightPairs:
    """Pairs of frames of one episode, ``later`` coming 1 to ``max_steps`` model steps after ``now``.

    ``now`` is uniform over the transitions of the dataset, the distance uniform over what its episode has left.
    """

    def __init__(self, dataset: EpisodeDataset, *, max_steps: int) -> None:
        self._rows = dataset.window_starts(2)
        episode = np.searchsorted(dataset.starts, self._rows, side="right") - 1
        last = dataset.starts[episode] + dataset.lengths[episode]
        self._longest = np.minimum(last - self._rows, max_steps)

    def sample(self, num_pairs: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the row numbers of ``now`` and of ``later``, and the model steps between, int64 [N] each."""
        pick = rng.integers(len(self._rows), size=num_pairs)
        steps = rng.integers(1, self._longest[pick], endpoint=True)
        now, apart = torch.from_numpy(self._rows[pick].astype(np.int64)), torch.from_numpy(steps.astype(np.int64))
        return now, now + apart, apart


class Standardise(nn.Module):
    """Shifts and scales inputs [..., D] to mean 0 and standard deviation 1 over the table that it was fitted to."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, table: Tensor) -> None:
        """Takes the statistics of a table [N, D]; what never varies there is left unscaled."""
        self.mean.copy_(table.mean(0))
        std = table.std(0)
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Standardises inputs."""
        return (inputs - self.mean) / self.std


def mlp(input_size: int, output_size: int, config: OfflineConfig) -> nn.Sequential:
    """Returns a multilayer perceptron with ``config.num_layers`` hidden layers."""
    sizes = [input_size, *[config.hidden_size] * config.num_layers]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], output_size))


class GoalPolicy(nn.Module):
    """The interface of an offline policy: a network over (now, goal) in normalised model-step actions."""

    now_scale: Standardise
    goal_scale: Standardise
    action_scale: Standardise

    def loss(self, now: Tensor, goal: Tensor, action: Tensor, steps: Tensor) -> Tensor:
        """Returns the loss of pairs: now [N, D], goal [N, D'], the normalised action [N, A] taken now, steps to the goal [N]."""
        raise NotImplementedError

    def decide(self, now: Tensor, goal: Tensor) -> Tensor:
        """Returns normalised actions [N, A]."""
        raise NotImplementedError


def train_policy(
    build: Callable[[int, int, int, OfflineConfig], GoalPolicy],
    *,
    name: str,
    task_id: str,
    dataset: Path,
    directory: Path,
    seed: int,
    world_model: Path | None,
    progress: bool,
    config: OfflineConfig,
) -> None:
    """Trains an offline policy and leaves ``policy.safetensors`` and ``training.json`` in ``directory``.

    Batches are a function of (seed, step), so a killed run that is started again ends with the same weights.

    Args:
        build: (D, D', A, config) to a new network.
        name: of the algorithm, checked on loading.
        task_id: the task.
        dataset, world_model: folders of the data and, for a policy on latents, of the frozen model.
        directory: where the result and the resumable state go.
        seed: of the initialisation and the batches.
        progress: show a progress bar.
        config: how to train.

    Raises:
        ValueError: the dataset is of another task.
    """
    data = EpisodeDataset.open(Path(dataset))
    task = get_task(task_id)
    if data.manifest.task_id != task.id:
        raise ValueError(f"The dataset {dataset} is of {data.manifest.task_id!r}, not of {task.id!r}. Collect one.")
    model = load_world_model(Path(world_model), task_id=task_id).model if world_model else None
    run = {
        "algorithm": name, "task_id": task.id, "seed": seed, "config": asdict(config), "on_latents": model is not None,
        "dataset_fingerprint": data.manifest.fingerprint,
    }  # fmt: skip
    directory = Path(directory)
    if open_run(directory, run):
        return
    now, goal = Features(model).tables(data)
    action = torch.from_numpy(np.array(data.field("action"), np.float32))
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        policy = build(now.shape[1], goal.shape[1], action.shape[1], config)
    policy.now_scale.fit(now)
    policy.goal_scale.fit(goal)
    policy.action_scale.mean.copy_(torch.as_tensor(data.action_statistics()[0]))
    policy.action_scale.std.copy_(torch.as_tensor(data.action_statistics()[1]))
    pairs = HindsightPairs(data, max_steps=config.max_goal_steps)
    seconds = _descend(policy, (now, goal, policy.action_scale(action)), pairs, config, seed, directory, progress)
    save_file(policy.state_dict(), directory / "policy.partial")
    (directory / "policy.partial").replace(directory / "policy.safetensors")
    cost = {
        "sizes": [now.shape[1], goal.shape[1], action.shape[1]], "train_seconds": seconds,
        "transitions": int(data.lengths.sum()) * task.action_block, "model_steps": int(data.lengths.sum()),
        "parameters": sum(parameter.numel() for parameter in policy.parameters()),
    }  # fmt: skip
    close_run(directory, run, cost)
    (directory / "training.pt").unlink(missing_ok=True)


def _descend(
    policy: GoalPolicy,
    tables: tuple[Tensor, Tensor, Tensor],
    pairs: HindsightPairs,
    config: OfflineConfig,
    seed: int,
    directory: Path,
    progress: bool,
) -> float:
    """Minimises the policy's loss, from ``directory/training.pt`` on if a killed run left one; returns seconds in all."""
    now, goal, action = tables
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    state_path, first, seconds = directory / "training.pt", 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        policy.load_state_dict(state["policy"])
        optimizer.load_state_dict(state["optimizer"])
        first, seconds = state["step"], state["seconds"]
    writer, began = SummaryWriter(str(directory / "tensorboard"), purge_step=first), time.monotonic()
    steps = range(first, config.num_steps)
    for step in tqdm(steps, desc="train", unit="step", initial=first, total=config.num_steps, disable=not progress):
        rows, goal_rows, apart = pairs.sample(config.batch_size, step_generators(seed, step)[0])
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.num_steps)
        loss = policy.loss(now[rows], goal[goal_rows], action[rows], apart)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            writer.add_scalar("loss", float(loss.detach()), step)
        if (step + 1) % config.checkpoint_every == 0:
            spent = seconds + time.monotonic() - began
            state = {
                "policy": policy.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
                "seconds": spent,
            }
            save_training_state(state_path, state)
    writer.close()
    return seconds + time.monotonic() - began


class OfflineAgent:
    """Acts with an offline policy: one forward pass at each block boundary, no search.

    Args:
        task_id: the task.
        policy: folder that ``train_policy`` wrote.
        name, build: as in training.
        world_model: folder of the frozen model, if the policy was trained on latents.

    Raises:
        ValueError: the folder holds another algorithm, task or kind of input.
    """

    def __init__(
        self,
        *,
        task_id: str,
        policy: Path,
        name: str,
        build: Callable[[int, int, int, OfflineConfig], GoalPolicy],
        world_model: Path | None = None,
    ) -> None:
        self.task = get_task(task_id)
        content = read_run(policy, algorithm=name, task_id=self.task.id, on_latents=world_model is not None)
        now_size, goal_size, action_size = content["sizes"]
        self.policy = build(now_size, goal_size, action_size, OfflineConfig(**content["config"]))
        self.policy.load_state_dict(load_file(Path(policy) / "policy.safetensors"))
        self.policy.eval().requires_grad_(False)
        self._features = Features(load_world_model(Path(world_model), task_id=task_id).model if world_model else None)
        self.observation_keys: tuple[str, ...] = self._features.observation_keys
        self._queue = ActionQueue(task=self.task)

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Starts B new episodes."""
        check_specs(self.task, specs)
        self._queue.reset(len(specs))
        self._goals: dict[int, Tensor] = {}

    @torch.no_grad()
    def act(self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Returns control actions [B, A]."""
        # One row at a time: a matrix product rounds differently in another batch size.
        for episode in self._queue.empty(active):
            if episode not in self._goals:
                self._goals[episode] = self._features.goal(observations, episode)
            action = self.policy.decide(self._features.now(observations, episode), self._goals[episode])
            scale = self.policy.action_scale
            self._queue.put(episode, (action * scale.std + scale.mean).numpy())
        return self._queue.take(active)

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zero [B]: nothing is imagined."""
        return np.zeros(len(self._queue.steps), dtype=np.int64)
