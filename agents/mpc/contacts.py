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
_INPUTS = ("task_id", "dataset", "world_model", "seed", "progress")  # of both trainings


def train(*, directory: Path, proposal: Mapping[str, Any], **settings: Any) -> None:
    """Train a distance and a policy on the latents of one world model.

    Args:
        directory: folder of the result.
        proposal: settings of ``timed.TimedConfig``.
        settings: other arguments of ``learned_distance.train``.

    Raises:
        ValueError: see ``learned_distance.train``.
    """
    inputs = {name: settings.pop(name) for name in _INPUTS if name in settings}

    def propose(folder: Path, latents: Tensor) -> None:
        del latents
        timed.train(directory=folder / _PROPOSAL, **inputs, **proposal)

    learned_distance.train(
        directory=directory,
        extra={_PROPOSAL: dict(proposal)},
        also=propose,
        **inputs,
        **settings,
    )
