"""Assemble an MPC agent from a world model and other artifacts, each named by its role."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

import torch

from jepabench.agents.costs.cost_tasks import CostTask
from jepabench.agents.costs.energy import Energy, EnergyConfig
from jepabench.agents.costs.learned_distance import load_distance
from jepabench.agents.guardrails.guardrail import GuardedEnergy, GuardedPlanner, GuardrailConfig
from jepabench.agents.mpc.agent import MPCAgent, Subgoals
from jepabench.agents.mpc.cost_agent import Directions, PlaceCost, load_places
from jepabench.agents.planners.base import Planner
from jepabench.agents.proposals import load_proposal
from jepabench.world_models.analysis.goal_probe import IN_PLACE
from jepabench.world_models.checkpoint import LoadedWorldModel, load_world_model
from jepabench.world_models.training.config import TrainConfig

logger = logging.getLogger(__name__)


class SubgoalsConfig(Protocol):
    """Settings that turn the folder of a ``subgoals`` artifact into subgoals."""

    def build(self, directory: Path, *, task_id: str, world_model: Path) -> Subgoals:
        """Load the artifact.

        Raises:
            ValueError: The folder is unfinished, or was trained for another task or world model.
        """
        ...


def build_mpc(
    *,
    task_id: str,
    world_model: Path,
    planner: Planner,
    cautious_planner: Planner | None = None,
    energy: Energy | EnergyConfig | None = None,
    distance: Path | None = None,
    proposals: Path | None = None,
    subgoals: Path | None = None,
    subgoals_config: SubgoalsConfig | None = None,
    guardrail: Path | None = None,
    guardrail_config: GuardrailConfig | None = None,
    probe: Path | None = None,
    task: CostTask | None = None,
    **settings: Any,
) -> MPCAgent:
    """Return an agent that plans with a saved world model.

    Args:
        task_id: Id of the task.
        world_model: Folder of the world model.
        planner: Planner that searches for actions.
        cautious_planner: Planner to use instead if the imagination of the world model is
            unreliable; see ``is_reliable``.
        energy: The cost to minimise. The default is the distance to the goal or, with a ``task``,
            the cost of that task alone.
        distance: Folder of a learned distance, for the ``LearnedDistanceConfig`` of the energy.
        proposals: Folder of a policy on the model's latents that proposes plans.
        subgoals, subgoals_config: Folder of a ``subgoals`` artifact, and its settings.
        guardrail, guardrail_config: Folder of a guardrail, and its settings.
        probe, task: Folder of a probe of positions, and a task that is defined by a cost on them.
            The agent then plans after every model step, since a task counts model steps.
        settings: Other arguments of ``MPCAgent``.

    Raises:
        CheckpointError: The world model does not exist or was trained for another task.
        ValueError: An artifact is missing or unfinished, or was trained for another task or
            world model.
    """
    _require_together(subgoals=subgoals, subgoals_config=subgoals_config)
    _require_together(probe=probe, task=task)
    world_model = Path(world_model)
    loaded = load_world_model(world_model, task_id=task_id)
    if cautious_planner is not None and not is_reliable(loaded):
        planner = cautious_planner
    where = {"task_id": task_id, "world_model": world_model}
    energy = _load_energy(energy, distance, where)
    if subgoals and subgoals_config:
        settings["subgoals"] = subgoals_config.build(Path(subgoals), **where)
    if probe and task:
        energy, directions = _add_task(energy, task, probe, planner, where)
        settings |= {"subgoals": directions, "execute_steps": 1}
    energy = Energy() if energy is None else energy
    if guardrail:
        config = guardrail_config or GuardrailConfig()
        energy, planner = _guard(config, Path(guardrail), task_id, loaded, planner, energy)
    if proposals:
        settings["proposal"] = load_proposal(proposals, scale=loaded.scale, **where)
    return _make_agent(task_id, loaded, planner=planner, energy=energy, **settings)


def is_reliable(loaded: LoadedWorldModel) -> bool:
    """Return whether a search may trust what a world model imagines.

    It may if the training of the model ended because the goal could be read from imagined frames
    (``TrainConfig.max_rounds``). A search with a less precise model finds plans that only look good
    in imagination. A model whose training recorded no reading counts as reliable.
    """
    readings = loaded.metadata.get(IN_PLACE)
    if not readings:
        return True
    config = TrainConfig.from_settings(loaded.metadata["training"])
    return readings[-1]["1"] >= config.enough_in_place


def _load_energy(
    energy: Energy | EnergyConfig | None, distance: Path | None, where: dict[str, Any]
) -> Energy | None:
    """Return the energy, built with the learned distance in ``distance`` if it is a config."""
    if not isinstance(energy, EnergyConfig):
        return energy
    return energy.build(load_distance(distance, **where) if distance else None)


def _add_task(
    energy: Energy | None, task: CostTask, probe: Path, planner: Planner, where: dict[str, Any]
) -> tuple[Energy, Directions]:
    """Return an energy with the cost of ``task`` before the terms of ``energy``, and its goals."""
    places = load_places(probe, **where)
    terms = () if energy is None else energy.terms
    directions = Directions(
        task_id=where["task_id"], task=task, probe=places, horizon=planner.horizon
    )
    return Energy(terms=(PlaceCost(probe=places, task=task), *terms)), directions


def _make_agent(task_id: str, loaded: LoadedWorldModel, **settings: Any) -> MPCAgent:
    """Return an agent with the model, the action scale and the decoder of a loaded world model.

    Without a decoder, the agent records no imagined frames.
    """
    if loaded.decoder is None and settings.pop("record_imagination", 0):
        logger.info("The world model has no decoder, so no imagined frames are recorded.")
    return MPCAgent(
        task_id=task_id,
        model=loaded.model,
        action_mean=loaded.scale.mean.numpy(),
        action_std=loaded.scale.std.numpy(),
        decoder=loaded.decoder.paint if loaded.decoder else None,
        **settings,
    )


def _guard(
    config: GuardrailConfig,
    directory: Path,
    task_id: str,
    loaded: LoadedWorldModel,
    planner: Planner,
    energy: Energy,
) -> tuple[Energy, Planner]:
    """Return the energy and the planner of an agent under a guardrail."""
    guarded = GuardedEnergy(energy, config.build(directory, task_id=task_id))
    rest = loaded.scale.normalise(torch.zeros_like(loaded.scale.mean))
    return guarded, GuardedPlanner(
        planner=planner, energy=guarded, rest=rest, num_rounds=config.num_rounds
    )


def _require_together(**arguments: Any) -> None:
    """Refuse one argument of a pair without the other."""
    (first, one), (second, other) = arguments.items()
    if (one is None) != (other is None):
        given, missing = (first, second) if other is None else (second, first)
        raise ValueError(f"{given} needs {missing}, which is missing. Give both or neither.")
