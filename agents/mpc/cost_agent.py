"""Planning for tasks that are defined by a cost on positions.

A probe reads positions from imagined latents, and the task assigns them a cost. Only the probe is
trained, once per world model, by least squares on recorded frames and their positions. A new task
or another goal needs no training.
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
from jepabench.agents.encoding import Features, open_dataset
from jepabench.agents.model_free.run_folder import close_run, open_run, read_run, record_inputs
from jepabench.envs.data.files import atomic_write
from jepabench.envs.registry import get_task, make
from jepabench.envs.splits import EpisodeSpec
from jepabench.world_models.analysis.probes import Probe, fit_linear, score
from jepabench.world_models.checkpoint import fingerprint, load_world_model

NAME = "places"
_WEIGHTS = "places.safetensors"
_HELD_OUT = 0.1  # share of the frames (the last ones) on which the probe is tested


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCost:
    """An energy term: the cost of a task at the positions of an imagined path.

    Its input ``goal`` holds the directions of the task [B, P].

    Attributes:
        probe: Probe from flattened latents [N, D] to positions [N, 2].
        task: Task that is defined by a cost.
        name, weight: See ``EnergyTerm``.
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
    """Passes the directions of a task to the energy, instead of the latent of a goal image.

    Implements ``jepabench.agents.mpc.agent.Subgoals``.

    Args:
        task_id: Id of the environment.
        task: Task that is defined by a cost.
        probe: Probe that reads the position of the agent from a latent.
        horizon: Number of model steps in a plan.
    """

    def __init__(self, *, task_id: str, task: CostTask, probe: Probe, horizon: int) -> None:
        self.task, self.probe, self.horizon = task, probe, horizon
        self._world, self._env = get_task(task_id), make(task_id)
        self.reset(())

    def to(self, device: torch.device) -> Directions:
        """Move the probe to a device. Tasks compute their directions in numpy."""
        self.probe.to(device)
        return self

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        check_specs(self._world, specs)
        self._assignments: list[Assignment] = [
            draw_assignment(self.task, self._env, spec) for spec in specs
        ]
        self._places: list[list[NDArray[np.float64]]] = [[] for _ in specs]

    @torch.no_grad()
    def choose(self, episode: int, latent: Tensor, goal: Tensor) -> Tensor:
        """Return the directions [P] of an episode, given the present ``latent`` [*latent].

        The latent of the goal is not used.
        """
        del goal
        places = self._places[episode]
        places.append(self.probe(latent.flatten()[None])[0].double().cpu().numpy())
        directions = self.task.directions(self._assignments[episode], places, self.horizon)
        return torch.from_numpy(directions).float().to(latent.device)

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zero [B]: no predictions are made."""
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
    """Fit the probe of positions on the frames of a dataset.

    ``training.json`` records the accuracy on held-out frames.

    Raises:
        ValueError: The dataset is of another task, or ``directory`` holds another run.
    """
    del progress
    data, directory = open_dataset(dataset, task_id), Path(directory)
    run = {
        "name": NAME,
        "seed": seed,
        **record_inputs(task_id, data, world_model),
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
    """Load the probe that ``train`` saved in ``directory``.

    Raises:
        ValueError: The probe is unfinished or damaged, or is of another task or world model.
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
