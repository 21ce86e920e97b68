"""Curiosity: a behaviour that collects data where the members of an ensemble disagree.

As in Plan2Explore (Sekar et al., 2020), but with a planner instead of a policy and without rewards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.agents.build import build_mpc
from jepabench.agents.costs.energy import Energy
from jepabench.agents.costs.uncertainty import Disagreement
from jepabench.agents.mpc.agent import MPCAgent
from jepabench.agents.planners.base import Planner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.splits import EpisodeSpec
from jepabench.world_models.checkpoint import load_world_model

_PLANNER = RandomShootingPlanner(horizon=6, num_samples=48, initial_std=1.5, colour=1.0)


class CuriousBehaviour:
    """Plans for the largest disagreement of the ensemble and ignores the goal.

    Implements ``jepabench.envs.data.behaviour.NamedBehaviour``.

    Args:
        world_model: folder of a checkpoint of kind ensemble.
        planner: the search. The default is small, because it runs every few control steps.
        execute_steps: blocks executed before the next plan.

    Raises:
        CheckpointError: if the model does not exist.
        TypeError: at the first action, if the model is of another kind.
    """

    def __init__(
        self, world_model: Path, *, planner: Planner = _PLANNER, execute_steps: int = 2
    ) -> None:
        self.world_model, self.planner, self.execute_steps = (
            Path(world_model),
            planner,
            execute_steps,
        )
        load_world_model(self.world_model)  # fail here and not in a worker process
        settings = f"{planner} {execute_steps}".encode()
        weights = (self.world_model / "weights.safetensors").read_bytes()
        self.name = f"curiosity-{hashlib.sha256(weights + settings).hexdigest()[:12]}"
        self._agent: MPCAgent | None = None

    def reset(self, env: GoalEnv, rng: np.random.Generator) -> None:
        """Start an episode."""
        if self._agent is None:
            self._agent = build_mpc(
                task_id=env.task.id,
                world_model=self.world_model,
                planner=self.planner,
                energy=Energy(terms=[Disagreement(weight=-1.0)]),
                execute_steps=self.execute_steps,
            )
        self._hold = env.task.hold_steps
        # The spec only provides a random stream.
        self._agent.reset(
            [EpisodeSpec(env.task.id, "train", env.task.strata[0], int(rng.integers(2**31)))]
        )

    def act(self, observation: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return the action [A] to hold.

        Observations within a block may lack pixels, because the agent does not read them.
        """
        if self._agent is None:
            raise RuntimeError("Call reset() first.")
        seen = {key: np.asarray(value)[None] for key, value in observation.items()}
        # The agent counts control steps, and each action is held for several of them.
        actions = [self._agent.act(seen, np.ones(1, np.bool_))[0] for _ in range(self._hold)]
        return actions[0]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_agent": None}
