"""Train, save and load a learned distance on the frozen latents of a world model.

The folder of a trained head holds ``distance.safetensors`` and ``training.json``, which records its
task, model and data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from jepabench.agents.encoding import Features, open_dataset
from jepabench.agents.model_free.offline.hindsight import HindsightPairs
from jepabench.agents.model_free.run_folder import close_run, open_run, read_run, record_inputs
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.envs.data.files import atomic_write
from jepabench.envs.registry import get_task
from jepabench.world_models.checkpoint import fingerprint, load_world_model
from jepabench.world_models.distances import DistanceConfig, DistanceHead, Pairs, make_head
from jepabench.world_models.settings import make_config
from jepabench.world_models.training.batches import step_generators

ALGORITHM = "learned_distance"
_WEIGHTS = "distance.safetensors"


def train(
    *,
    task_id: str,
    dataset: Path,
    world_model: Path,
    directory: Path,
    seed: int,
    extra: Mapping[str, Any] | None = None,
    also: Callable[[Path, Tensor], None] | None = None,
    progress: bool = True,
    **config: Any,
) -> None:
    """Train a head on the latents of a dataset.

    Batches are a function of (seed, step). Training takes about a minute. An interrupted run starts
    from the beginning.

    Args:
        task_id: Id of the task.
        dataset, world_model, directory: Folders of the dataset, the world model and the result.
        seed: Seed of initialisation and batches.
        extra: Settings of ``also``, which are recorded with the run.
        also: Function that trains and saves what depends on the distance, such as the nodes of a
            graph, from the folder and the latents of the data [N, D].
        progress: Whether to show a progress bar.
        config: Fields of ``DistanceConfig``.

    Raises:
        ValueError: The dataset is of another task, or ``directory`` holds another run.
        UnknownNameError: There is no such setting or kind.
    """
    settings = make_config("setting of a learned distance", DistanceConfig, config)
    data, directory = open_dataset(dataset, task_id), Path(directory)
    run = {
        "algorithm": ALGORITHM,
        "seed": seed,
        "config": asdict(settings),
        **(extra or {}),
        **record_inputs(task_id, data, world_model),
    }
    if open_run(directory, run):
        return
    latents, goals = Features(load_world_model(Path(world_model), task_id=task_id).model).vectors(
        data
    )
    began = time.monotonic()
    head = fit_head(latents.float(), goals.float(), data, settings, seed=seed, progress=progress)
    with atomic_write(directory / _WEIGHTS) as partial:
        save_file(head.state_dict(), partial)
    if also is not None:
        also(directory, latents.float())
    cost = {
        "latent_size": latents.shape[1],
        "train_seconds": time.monotonic() - began,
        "transitions": int(data.lengths.sum()) * get_task(task_id).action_block,
        "parameters": sum(parameter.numel() for parameter in head.parameters()),
    }
    close_run(directory, run, cost)


def fit_head(
    latents: Tensor,
    goals: Tensor,
    data: EpisodeDataset,
    config: DistanceConfig,
    *,
    seed: int,
    progress: bool = True,
) -> DistanceHead:
    """Return a trained head.

    Args:
        latents: Latents [N, D] of all N frames of the dataset.
        goals: Latents [N, D] of the goals that are reached at the frames.
        data: Dataset of the latents.
        config: Configuration of the head and of its training.
        seed: Seed of initialisation and batches.
        progress: Whether to show a progress bar.

    Raises:
        FloatingPointError: The loss is not finite.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # weight initialisation has no generator argument
        head = make_head(latents.shape[1], config)
    starts = torch.from_numpy(data.window_starts(2).astype(np.int64))
    head.fit_scale(latents, latents[starts + 1] - latents[starts])
    trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
    if not trained:
        return head.eval()
    sampler = HindsightPairs(data, max_steps=config.max_steps)
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate)
    for step in tqdm(
        range(config.num_steps), desc=config.kind, unit="step", disable=not progress, leave=False
    ):
        rng, _ = step_generators(seed, step)
        now, later, apart = sampler.sample(config.batch_size, rng)
        other = torch.from_numpy(rng.integers(len(latents), size=config.batch_size))
        pairs = Pairs(
            latents[now],
            latents[now + 1],
            goals[now + 1],
            goals[later],
            apart.float(),
            goals[other],
        )
        loss = head.loss(pairs)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"The loss of the distance is not finite at step {step}: lower its learning_rate."
            )
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.num_steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        head.after_step()
    return head.eval().requires_grad_(False)


def load_distance(directory: Path, *, task_id: str, world_model: Path) -> DistanceHead:
    """Load the head that ``train`` saved in ``directory``.

    Raises:
        ValueError: The head is unfinished or damaged, or is of another task or world model.
    """
    content = read_run(
        directory,
        algorithm=ALGORITHM,
        task_id=get_task(task_id).id,
        world_model=fingerprint(world_model),
    )
    head = make_head(content["latent_size"], DistanceConfig(**content["config"]))
    try:
        head.load_state_dict(load_file(Path(directory) / _WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"The distance in {directory} cannot be read ({error}). Delete it and train again."
        ) from error
    return head.eval().requires_grad_(False)
