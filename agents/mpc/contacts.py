"""Training of the artifacts of agents that push objects: a distance, and a policy for proposals.

The distance scales each latent dimension by how much a step changes it, so that the hand does not
outweigh the object. The proposals contain detours around the object that a search from the last
plan does not find.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from jepabench.agents.costs import learned_distance
from jepabench.agents.model_free.offline import timed

_PROPOSAL = "proposal"


def train(
    *,
    task_id: str,
    dataset: Path,
    world_model: Path,
    directory: Path,
    seed: int,
    proposal: Mapping[str, Any],
    progress: bool = True,
    **distance: Any,
) -> None:
    """Train a distance and a policy on the latents of one world model.

    Args:
        task_id, dataset, world_model, directory, seed, progress: see ``learned_distance.train``.
        proposal: settings of ``timed.TimedConfig``.
        distance: settings of ``DistanceConfig``.

    Raises:
        ValueError: see ``learned_distance.train``.
    """

    def propose(folder: Path, latents: Tensor) -> None:
        del latents
        timed.train(
            task_id=task_id,
            dataset=dataset,
            world_model=world_model,
            directory=folder / _PROPOSAL,
            seed=seed,
            progress=progress,
            **proposal,
        )

    learned_distance.train(
        task_id=task_id,
        dataset=dataset,
        world_model=world_model,
        directory=directory,
        seed=seed,
        progress=progress,
        extra={_PROPOSAL: dict(proposal)},
        also=propose,
        **distance,
    )
