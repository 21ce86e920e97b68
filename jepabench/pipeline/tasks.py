"""Resolve the names of tasks that users type."""

from __future__ import annotations

from jepabench.envs.registry import get_task, list_tasks
from jepabench.envs.task import short_name


def resolve_task(name: str) -> str:
    """Return the id of a task, given its id or short name in any case, with or without version.

    ``tworoom``, ``TwoRoom-v1`` and ``jepabench/TwoRoom-v1`` name the same task. Names with a slash
    or a colon (``package.module:Name-v0``) are ids.

    Raises:
        UnknownNameError: There is no such task; the message suggests the nearest.
    """
    if "/" not in name and ":" not in name:
        wanted = name.lower()
        for spec in list_tasks():
            short = short_name(spec.id).lower()
            if wanted in (short, short.rpartition("-v")[0] or short):
                return spec.id
        try:
            return get_task(f"jepabench/{name.rpartition('-v')[0] or name}-v1").id
        except KeyError:
            pass  # the error below quotes the name that the user typed
    return get_task(name).id
