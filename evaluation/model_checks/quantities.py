"""Names of the physical quantities in a task's ``observation``, for tables of probes."""

from __future__ import annotations

from jepabench.envs.registry import make


def observation_names(task_id: str) -> tuple[str, ...]:
    """Return the name of each entry of a task's ``observation`` [O].

    Each world names its own entries; see ``GoalEnv.observation_names``.

    Raises:
        UnknownNameError: The task is not registered.
    """
    env = make(task_id)
    names = env.observation_names
    env.close()
    return names
