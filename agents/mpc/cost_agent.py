"""Planning for tasks told by a cost: a probe reads places from imagined latents, and the task says
what they are worth.

The probe is the only thing that is trained, once a world model, by least squares on recorded frames
and their positions; a new task, or another goal, trains nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from jepabench.agents.base import check_specs
from jepabench.agents.costs.cost_tasks import Assignment, CostTask, draw_assignment
from jepabench.agents.costs.learned_distance import open_dataset
from jepabench.agents.encoding import Features
from jepabench.agents.model_free.run_folder import close_run, open_run, read_run
from jepabench.envs.files import atomic_write
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec
from jepabench.world_models.analysis.probes import Probe, fit_linear, score
from jepabench.world_models.checkpoint import fingerprint, load_world_model

NAME = "places"
_WEIGHTS = "places.safetensors"
_HELD_OUT = 0.1  # share of the frames, the last ones, that say how well places are read


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCost:
    """An energy term: what a task says of the places along an imagined way.

    Its goal is the task's directions [B, P].

    Attributes:
        probe: flattened latents [N, D] to places [N, 2].
        task: judges.
        name, weight: see ``EnergyTerm``.
    """

    probe: Probe
    task: CostTask
    name: str = "place"
    weight: float = 1.0

    def __call__(self, latents: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Return costs [B, S]."""
        del actions
        places = self.probe(latents.flatten(0, 2).flatten(1)).view(*latents.shape[:3], -1)
        return self.task.cost(places, goal)


class Directions:
    """Tells the energy what the task asks now, in place of the latent of a goal picture.

    Implements ``jepabench.agents.mpc.agent.Subgoals``.

    Args:
        task_id: the world.
        task: says what to do there.
        probe: reads where one is.
        horizon: model steps of a plan.
    """

    def __init__(self, *, task_id: str, task: CostTask, probe: Probe, horizon: int) -> None:
        self.task, self.probe, self.horizon = task, probe, horizon
        self._world, self._env = get_task(task_id), make(task_id)
        self.reset(())

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        check_specs(self._world, specs)
        self._assignments: list[Assignment] = [
            draw_assignment(self.task, self._env, spec) for spec in specs
        ]
        self._places: list[list[NDArray[np.float64]]] = [[] for _ in specs]

    @torch.no_grad()
    def choose(self, episode: int, latent: Tensor, goal: Tensor) -> Tensor:
        """Return the directions [P] of episode number ``episode``, being at ``latent`` [*latent];
        the goal's is not looked at.
        """
        del goal
        places = self._places[episode]
        places.append(self.probe(latent.flatten()[None])[0].double().numpy())
        return torch.from_numpy(
            self.task.directions(self._assignments[episode], places, self.horizon)
        ).float()

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zero [B]: nothing is imagined."""
        return np.zeros(len(self._places), dtype=np.int64)


def train(
    *,
    task_id: str,
    dataset: Path,
    world_model: Path,
    directory: Path,
    seed: int,
    progress: bool = True,
) -> None:
    """Fit the probe of places on the frames of a dataset; ``training.json`` says how well it reads
    those it has not seen.

    Raises:
        ValueError: the dataset is of another task, or ``directory`` holds another run.
    """
    del progress
    data, directory = open_dataset(dataset, task_id), Path(directory)
    run = {
        "name": NAME,
        "task_id": get_task(task_id).id,
        "seed": seed,
        "world_model": fingerprint(world_model),
        "dataset_fingerprint": data.manifest.fingerprint,
    }
    if open_run(directory, run):
        return
    began = time.monotonic()
    latents, _ = Features(load_world_model(Path(world_model), task_id=task_id).model).vectors(data)
    places = torch.from_numpy(np.array(data.field("achieved_goal"), np.float32)[:, :2])
    kept = int(len(latents) * (1 - _HELD_OUT))
    probe = fit_linear(latents[:kept].float(), places[:kept], regularisation=1e-4)
    with torch.no_grad():
        read = probe(latents[kept:].float())
    with atomic_write(directory / _WEIGHTS) as partial:
        save_file(probe.state_dict(), partial)
    cost = {
        "r2": score(read, places[kept:]).r2.tolist(),
        "error": float((read - places[kept:]).norm(dim=1).mean()),
        "train_seconds": time.monotonic() - began,
        "parameters": sum(part.numel() for part in probe.parameters()),
        "transitions": int(data.lengths.sum()) * get_task(task_id).action_block,
    }
    close_run(directory, run, cost)


def load_places(directory: Path, *, task_id: str, world_model: Path) -> Probe:
    """Return the probe that ``train`` left in ``directory``.

    Raises:
        ValueError: it is not finished, damaged, or of another task or world model.
    """
    read_run(
        directory, name=NAME, task_id=get_task(task_id).id, world_model=fingerprint(world_model)
    )
    try:
        weights = load_file(Path(directory) / _WEIGHTS)
        probe = Probe(len(weights["mean"]), 2)
        probe.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"The probe in {directory} cannot be read ({error}). Delete it and train again."
        ) from error
    return probe.eval().requires_grad_(False)
