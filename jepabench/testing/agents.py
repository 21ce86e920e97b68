"""The contract of agents (``jepabench.agents.base.Agent``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jepabench.envs import episode_specs, get_task, list_tasks
from jepabench.evaluation.rollout import AgentError, Evaluation, evaluate_episodes
from jepabench.testing.contract import ContractError, require

_MEMBERS = ("reset", "act", "model_steps", "observation_keys")


def check_agent(
    make_agent: Callable[..., Any],
    task: str = "jepabench/TwoRoom-v1",
    *,
    num_episodes: int = 2,
    pixels: int = 64,
) -> None:
    """Check that an agent keeps its contract, by acting in a few episodes.

    Args:
        make_agent: Class of the agent, or a function that makes one; called with ``task_id``.
        task: Id of the task.
        num_episodes: Episodes to act in, at least 2.
        pixels: Side of the frames, if the agent observes frames.

    Raises:
        ContractError: A member is missing, actions have the wrong shape or leave the bounds, a
            result changes when the episodes are repeated or run side by side, or the agent accepts
            episodes of another task.
        UnknownNameError: There is no such task.
    """
    task_id = get_task(task).id
    agent = make_agent(task_id=task_id)
    missing = [name for name in _MEMBERS if not hasattr(agent, name)]
    require(not missing, f"{type(agent).__name__} lacks {', '.join(missing)}.")
    spec = get_task(task_id)
    specs = episode_specs(task_id, "validation", num_episodes, strata=spec.strata[:1])
    runs = {
        "alone": _run(agent, specs, 1, pixels),
        "again": _run(agent, specs, 1, pixels),
        "side by side": _run(agent, specs, num_episodes, pixels),
        "in another order": _run(agent, specs[::-1], 1, pixels),
    }
    for name, run in runs.items():
        for episode, actions in runs["alone"].actions.items():
            require(
                np.array_equal(actions, run.actions[episode]),
                f"The actions of episode {episode} must be the same when the episodes run {name}: "
                "draw from EpisodeSpec.planner_seed and keep the episodes apart.",
            )
    _check_other_task(agent, task_id)


def _run(agent: Any, specs: Any, batch_size: int, pixels: int) -> Evaluation:
    try:
        return evaluate_episodes(
            agent, specs, agent_name=type(agent).__name__, batch_size=batch_size, pixels=pixels
        )
    except AgentError as error:
        raise ContractError(str(error)) from error


def _check_other_task(agent: Any, task_id: str) -> None:
    other = next(item for item in list_tasks() if item.id != task_id)
    (spec,) = episode_specs(task_id, "validation", 1, strata=get_task(task_id).strata[:1])
    foreign = dataclasses.replace(spec, task_id=other.id)
    try:
        agent.reset([foreign])
    except (ValueError, KeyError):
        return
    raise ContractError(
        f"{type(agent).__name__} was made for {task_id} and must refuse episodes of {other.id}: "
        "call jepabench.agents.base.check_specs in reset()."
    )
