"""Evaluation of any agent on a task that is defined by a cost.

The agent acts in the episodes of the suite. The task then scores the path that the agent took.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.agents.base import Agent
from jepabench.agents.costs.cost_tasks import CostTask, draw_assignment
from jepabench.envs.core.goal_env import GoalEnv
from jepabench.envs.registry import make
from jepabench.envs.splits import EpisodeSpec
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.traces import episode_name


def evaluate_cost_task(
    agent: Agent,
    task: CostTask,
    specs: Sequence[EpisodeSpec],
    *,
    agent_name: str,
    training_seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> pd.DataFrame:
    """Run an agent in episodes of a cost task and score the paths that it takes.

    An agent that plans with the cost of ``task`` knows the task
    (``jepabench.agents.mpc.cost_agent``). Any other agent, such as a policy, knows only the goal of
    the episode; its score shows how it copes with a new task without being trained again.

    Args:
        agent: Anything that acts.
        task: Defines the cost and the score.
        specs: Episodes of one world.
        agent_name, training_seed, progress: As in ``evaluate_episodes``.

    Returns:
        One row per episode: ``task, stratum, index, agent, training_seed, success`` (0 or 1), the
        other scores of the task, ``model_steps``, ``planning_seconds`` and ``steps``.
    """
    evaluation = evaluate_episodes(
        agent, specs, agent_name=agent_name, training_seed=training_seed, progress=progress
    )
    env, rows = make(specs[0].task_id), []
    for spec, record in zip(specs, evaluation.records, strict=True):
        assignment = draw_assignment(task, env, spec)
        places = way(env, evaluation.actions[episode_name(spec.stratum, spec.index)])
        rows.append(
            {
                "task": spec.task_id,
                "stratum": spec.stratum,
                "index": spec.index,
                "agent": agent_name,
                "training_seed": training_seed,
                **task.score(assignment, places, env),
                "model_steps": record.model_steps,
                "planning_seconds": record.planning_seconds,
                "steps": record.steps,
            }
        )
    return pd.DataFrame(rows)


def way(env: GoalEnv, actions: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the positions [T+1, 2] that control actions [T, A] lead through.

    The path begins at the present state of ``env``, which is stepped.
    """
    places = [env.restore(env.snapshot())["achieved_goal"][:2]]
    places += [env.step(action)[0]["achieved_goal"][:2] for action in actions]
    return np.array(places, np.float64)
