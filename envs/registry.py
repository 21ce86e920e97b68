"""The registry of tasks: which tasks exist, and how to make one.

Tasks are registered here and with Gymnasium, so ``gymnasium.make`` finds them after
``import jepabench``. Registering a task imports nothing, because entry points are strings.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from jepabench.envs.errors import UnknownNameError, unknown_name
from jepabench.envs.task import TaskSpec, load_entry_point

if TYPE_CHECKING:
    from jepabench.envs.core.goal_env import GoalEnv


TASKS_GROUP = "jepabench.tasks"
_TASKS: dict[str, TaskSpec] = {}
_MODULES: dict[str, str] = {}  # by task id, the module that the user named for it
_IMPORTED: list[str] = []  # modules given to import_modules


def register(spec: TaskSpec) -> None:
    """Register a task here and with Gymnasium. Registering the same spec again does nothing.

    Raises:
        ValueError: A different spec is registered under this id.
    """
    known = _TASKS.get(check_task_id(spec.id))
    if known == spec:
        return
    if known is not None:
        raise ValueError(
            f"Task {spec.id!r} is already registered with a different spec. Give it a new version."
        )
    _TASKS[spec.id] = spec
    gymnasium.register(
        id=spec.id,
        entry_point=f"{__name__}:make",
        kwargs={"task_id": spec.id, **spec.kwargs},  # can be written as JSON
        disable_env_checker=True,
        order_enforce=False,
    )


def check_task_id(task_id: object) -> str:
    """Return ``task_id`` if it is a plain id, such as the ids that are written into files.

    Raises:
        ValueError: It is not a string, or it names a module (``package.module:Name-v0``), which
            only a user may do.
    """
    if not isinstance(task_id, str) or not task_id or ":" in task_id:
        raise ValueError(
            f"{task_id!r} is not a plain task id. "
            "An id in a file or a registration must not name a module."
        )
    return task_id


def find_task(task_id: str) -> TaskSpec:
    """Return the spec of a task without importing a module that ``task_id`` names.

    Use this wherever a task id was read from a file (a checkpoint, dataset or submission). The only
    module that it may import is one that an installed distribution declares for this task (entry
    point group ``jepabench.tasks``).

    Raises:
        UnknownNameError: The task is not registered; the message suggests the nearest id.
    """
    if task_id not in _TASKS:
        point = find_entry_point(TASKS_GROUP, task_id)
        if point is not None:
            importlib.import_module(point.module)
    if task_id not in _TASKS:
        raise unknown_name("task", task_id, _TASKS)
    return _TASKS[task_id]


def get_task(task_id: str) -> TaskSpec:
    """Return the spec of a task that the user names.

    ``package.module:Name-v0`` imports the module first, as in Gymnasium. Never call this with a
    task id that was read from a file; see ``find_task``.

    Raises:
        UnknownNameError: The task is not registered; the message suggests the nearest id.
    """
    module, _, name = task_id.rpartition(":")
    if module:
        _import(module)
    task = find_task(name)
    if module:
        _MODULES[name] = module
    return task


def find_module(spec: TaskSpec) -> str:
    """Return the module that the user named for a task, or ``""``.

    The user names it in an id such as ``module:Name-v0`` or with ``import_modules``.
    """
    return _MODULES.get(spec.id, "")


def import_modules(modules: Iterable[str]) -> None:
    """Import modules that register tasks. From then on these tasks have plain ids.

    Checkpoints, datasets and submissions contain plain ids, which never import a module.

    Raises:
        UnknownNameError: There is no such module.
    """
    for module in modules:
        before = set(_TASKS)
        _import(module)
        _MODULES.update(dict.fromkeys(set(_TASKS) - before, module))
        if module not in _IMPORTED:
            _IMPORTED.append(module)


def list_imported_modules() -> tuple[str, ...]:
    """Return the modules that ``import_modules`` has imported, for use in another process."""
    return tuple(_IMPORTED)


def register_in_new_process(spec: TaskSpec, module: str) -> None:
    """Register in a new process a task that is known in another one.

    The module is imported first, because it may also register what the task is made from.

    Args:
        spec: The task.
        module: What ``find_module`` returned in the other process.
    """
    if module:
        _import(module)
    register(spec)


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # The module exists, but one of its own imports does not.
        raise UnknownNameError(
            f"There is no module {module!r} here. "
            "Run from the folder that contains it, or add that folder to PYTHONPATH."
        ) from error


def list_tasks(*, family: str | None = None, tag: str | None = None) -> list[TaskSpec]:
    """Return the registered tasks, sorted by id and optionally filtered by family or tag."""
    return [
        spec
        for _, spec in sorted(_TASKS.items())
        if (family is None or spec.family == family) and (tag is None or tag in spec.tags)
    ]


def make(task_id: str, **kwargs: Any) -> GoalEnv:
    """Make the world of a task.

    Args:
        task_id: Registered id, or ``module:Name-v0``.
        **kwargs: Arguments of ``GoalEnv`` (such as ``pixels=64``) and of the task's class.

    Raises:
        UnknownNameError: The task is not registered; the message suggests the nearest id.
    """
    spec = get_task(task_id)
    return load_entry_point(spec.entry_point)(task=spec, **{**spec.kwargs, **kwargs})


def find_entry_point(group: str, name: str) -> metadata.EntryPoint | None:
    """Return the entry point ``name`` of a group, or None if no installed distribution declares it.

    Nothing is imported; call ``load()`` on the result.
    """
    return next((point for point in _entry_points(group) if point.name == name), None)


def list_entry_points(group: str) -> list[str]:
    """Return the names that installed distributions declare in ``group``, sorted."""
    return sorted({point.name for point in _entry_points(group)})


def _entry_points(group: str) -> list[metadata.EntryPoint]:
    # The command line puts the working directory on the path. It may hold an untrusted checkpoint.
    here = Path.cwd()
    path = tuple(entry for entry in sys.path if Path(entry).resolve() != here)
    return [point for point in _read_entry_points(path) if point.group == group]


@lru_cache(maxsize=8)
def _read_entry_points(path: tuple[str, ...]) -> list[metadata.EntryPoint]:
    """Return all entry points on a path; reading them takes 20 ms, and a plan asks per stage."""
    return [
        point
        for distribution in metadata.distributions(path=list(path))
        for point in distribution.entry_points
    ]
