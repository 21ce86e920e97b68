"""The only registry of the project: which tasks exist, what they promise, and how to make one.

Worlds are registered with Gymnasium (``gymnasium.make`` finds them after ``import envs``); this module adds what a
benchmark must know beyond that, as a frozen ``TaskSpec``. Registering imports nothing: entry points are strings.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium

from jepabench.envs.data.behaviour import HeldBehaviour
from jepabench.envs.plugins import find_entry_point

if TYPE_CHECKING:
    from jepabench.envs.core import GoalEnv


HELD_BLOCKS = 3
TASKS_GROUP = "jepabench.tasks"


class UnknownNameError(KeyError):
    """A name that is not registered; the message says what is near it."""

    def __str__(self) -> str:
        return str(self.args[0])


def unknown_name(kind: str, name: object, allowed: Iterable[str]) -> UnknownNameError:
    """Returns the error for a name (or what was given for one) that is not among ``allowed``; the nearest one is suggested."""
    names = sorted(allowed)
    word = str(name).casefold()
    full = {candidate.casefold(): candidate for candidate in names}
    short = {folded.split("/")[-1]: candidate for folded, candidate in full.items()}
    near = [
        full[match] for match in difflib.get_close_matches(word, list(full), n=1, cutoff=0.5)
    ] or [
        short[match]
        for match in difflib.get_close_matches(word.split("/")[-1], list(short), n=1, cutoff=0.4)
    ]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What a task promises.

    Attributes:
        id: Gymnasium id with a version; physics, reward, success or picture changed means a new version.
        family: the folder of ``envs/`` that it lives in.
        entry_point: ``module:Class`` of the ``GoalEnv``.
        kwargs: keyword arguments of the class that make this task of it.
        control_dt: seconds between two actions [s].
        action_block: control steps in one model step (the frames that a world model skips).
        actions_per_block: distinct actions in a block; each is held for ``action_block / actions_per_block`` steps.
        max_steps: the longest episode budget that a draw may have [control steps].
        strata: names of the distance strata, near to far.
        success: the success rule in words.
        behaviours: name to ``module:Class`` of the scripted behaviours; ``expert`` is the one that solves the task.
        default_behaviour: the reward-free behaviour that the suite's datasets are made with.
        physics: the simulator and the version that the traces hold for.
        tags: for selecting sets of tasks.
    """

    id: str
    family: str
    entry_point: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    control_dt: float
    action_block: int = 1
    actions_per_block: int = 1
    max_steps: int
    strata: tuple[str, ...] = ("near", "medium", "far")
    success: str
    behaviours: Mapping[str, str] = field(default_factory=dict)
    default_behaviour: str = "random"
    physics: str
    tags: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.action_block % self.actions_per_block:
            raise ValueError(
                f"{self.id}: action_block {self.action_block} is no multiple of "
                f"actions_per_block {self.actions_per_block}."
            )
        if self.default_behaviour not in self.behaviours:
            raise unknown_name("behaviour", self.default_behaviour, self.behaviours)

    @property
    def held_steps(self) -> int:
        """Control steps in a row for which a success counts as held: three action blocks, so that a fly-by does not count."""
        return HELD_BLOCKS * self.action_block

    @property
    def hold_steps(self) -> int:
        """Control steps for which each action of a block is held."""
        return self.action_block // self.actions_per_block

    def behaviour(self, name: str | None = None) -> HeldBehaviour:
        """Returns a new behaviour policy, by default the one that datasets are made with, to be asked at every control step."""
        name = name or self.default_behaviour
        if name not in self.behaviours:
            raise unknown_name(f"behaviour of {self.id}", name, self.behaviours)
        return HeldBehaviour(load_entry_point(self.behaviours[name])())


_TASKS: dict[str, TaskSpec] = {}
_MODULES: dict[str, str] = {}  # by task id, the module that an id such as module:Name-v0 named


def short_name(task_id: str) -> str:
    """Returns the name of a task without namespace or module, as in file names and tables."""
    return task_id.split("/")[-1].split(":")[-1]


def register(spec: TaskSpec) -> None:
    """Registers a task with this suite and with Gymnasium. Registering the same spec twice does nothing.

    Raises:
        ValueError: another spec already has this id.
    """
    known = _TASKS.get(check_task_id(spec.id))
    if known == spec:
        return
    if known is not None:
        raise ValueError(
            f"Task {spec.id!r} is registered already, with another spec. Give it a new version."
        )
    _TASKS[spec.id] = spec
    gymnasium.register(
        id=spec.id,
        entry_point=spec.entry_point,
        kwargs={"task": spec, **spec.kwargs},
        disable_env_checker=True,
        order_enforce=False,
    )


def check_task_id(task_id: object) -> str:
    """Return ``task_id`` if it is a plain id, such as the ids that are written into files.

    Raises:
        ValueError: It is no text, or it names a module (``package.module:Name-v0``), which only a user may do.
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

    ``package.module:Name-v0`` imports the module first, as in Gymnasium. Never call this with a task
    id that was read from a file; see ``find_task``.

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
    """Return the module that an id such as ``module:Name-v0`` named for a task, or ``""``."""
    return _MODULES.get(spec.id, "")


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
            raise  # the module is there, something that it needs is not
        raise UnknownNameError(
            f"There is no module {module!r} here. Go to the folder that holds it, or name that folder in PYTHONPATH."
        ) from error


def list_tasks(*, family: str | None = None, tag: str | None = None) -> list[TaskSpec]:
    """Returns the registered tasks in the order of their ids, optionally of one family or with one tag."""
    return [
        spec
        for _, spec in sorted(_TASKS.items())
        if (family is None or spec.family == family) and (tag is None or tag in spec.tags)
    ]


def make(task_id: str, **kwargs: Any) -> GoalEnv:
    """Makes the world of a task. Keyword arguments are those of ``GoalEnv`` (``pixels=64``, ``reward=...``) and its class."""
    spec = get_task(task_id)
    return load_entry_point(spec.entry_point)(task=spec, **{**spec.kwargs, **kwargs})


def load_entry_point(entry_point: str) -> Any:
    """Returns the object that ``module:name`` stands for."""
    module, _, name = entry_point.partition(":")
    return getattr(importlib.import_module(module), name)
