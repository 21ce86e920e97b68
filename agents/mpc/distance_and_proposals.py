"""Train two artifacts of a planner on the same latents: a distance, and a policy for proposals.

The distance is the cost of a plan. The policy proposes plans that a search from the last plan does
not find, such as detours around an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from jepabench.agents.costs import learned_distance
from jepabench.agents.model_free.offline import timed

_PROPOSAL = "proposal"
_INPUTS = ("task_id", "dataset", "world_model", "seed", "progress")  # arguments of both trainings


def train(*, directory: Path, proposal: Mapping[str, Any], **settings: Any) -> None:
    """Train a distance and a policy on the latents of one world model.

    Args:
        directory: Folder of the distance. The policy is in its folder ``proposal``.
        proposal: Settings of ``timed.TimedConfig``.
        settings: Other arguments of ``learned_distance.train``.

    Raises:
        ValueError: The dataset is of another task, or ``directory`` holds another run.
        UnknownNameError: There is no such setting or kind of distance.
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
