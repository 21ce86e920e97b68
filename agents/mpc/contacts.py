"""What a planner that moves objects has beside its world model: a distance in units of a step, and a policy that proposes plans.

The distance keeps the hand from outweighing the object; the proposals know detours, to the other side of the object and
back, that no search from the last plan finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from jepabench.agents.costs import learned_distance
from jepabench.agents.costs.energy import Energy
from jepabench.agents.model_free.offline import timed
from jepabench.agents.mpc.agent import MPCAgent, build_mpc
from jepabench.agents.planners.base import Planner

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
    """Trains a distance and a policy on the latents of one world model.

    Args:
        task_id, dataset, world_model, directory, seed, progress: see ``learned_distance.train``.
        proposal: settings of ``timed.TimedConfig``.
        distance: those of ``DistanceConfig``.

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


def build(
    *,
    task_id: str,
    world_model: Path,
    policy: Path,
    planner: Planner,
    energy: Energy,
    **settings: Any,
) -> MPCAgent:
    """Returns an agent as ``build_mpc`` does, with the distance and the proposals that ``train`` left in ``policy``."""
    head = learned_distance.load_distance(policy, task_id=task_id, world_model=world_model)
    return build_mpc(
        task_id=task_id,
        world_model=world_model,
        planner=planner,
        energy=learned_distance.with_head(energy, head),
        policy=Path(policy) / _PROPOSAL,
        **settings,
    )
