"""Curiosity: a behaviour that collects data where the members of an ensemble disagree.

As in Plan2Explore (Sekar et al., 2020), but with a planner instead of a policy and without rewards.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from jepabench.agents.build import build_mpc
from jepabench.agents.collection.planning_behaviour import PlanningBehaviour
from jepabench.agents.costs.energy import Energy
from jepabench.agents.costs.uncertainty import Disagreement
from jepabench.agents.mpc.agent import MPCAgent
from jepabench.agents.planners.base import Planner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner
from jepabench.world_models.checkpoint import load_world_model

_PLANNER = RandomShootingPlanner(horizon=6, num_samples=48, initial_std=1.5, colour=1.0)


class CuriousBehaviour(PlanningBehaviour):
    """Plans for the largest disagreement of the ensemble and ignores the goal.

    Implements ``jepabench.envs.data.behaviour.NamedBehaviour``.

    Args:
        world_model: Folder of a world model of kind ``ensemble``.
        planner: Planner. The default is small, because it plans every few control steps.
        execute_steps: Number of blocks executed before the next plan.

    Raises:
        CheckpointError: The model does not exist.
        TypeError: At the first action, if the model is of another kind.
    """

    def __init__(
        self, world_model: Path, *, planner: Planner = _PLANNER, execute_steps: int = 2
    ) -> None:
        self.world_model, self.planner, self.execute_steps = (
            Path(world_model),
            planner,
            execute_steps,
        )
        load_world_model(self.world_model)  # raises here instead of in a worker process
        settings = f"{planner} {execute_steps}".encode()
        weights = (self.world_model / "weights.safetensors").read_bytes()
        self.name = f"curiosity-{hashlib.sha256(weights + settings).hexdigest()[:12]}"

    def _build(self, task_id: str) -> MPCAgent:
        return build_mpc(
            task_id=task_id,
            world_model=self.world_model,
            planner=self.planner,
            energy=Energy(terms=[Disagreement(weight=-1.0)]),
            execute_steps=self.execute_steps,
        )
