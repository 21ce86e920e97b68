"""Task specifications, and the data that describe one episode: its draw and its present state."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepabench.envs.errors import unknown_name

HELD_BLOCKS = 3
SPLITS = ("train", "validation", "test", "private")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """The specification of a task.

    A change of physics, reward, success rule or frames requires a new version in ``id``.

    Attributes:
        id: Gymnasium id with a version.
        family: Folder of ``envs/`` that holds the world.
        entry_point: ``module:Class`` of the ``GoalEnv``.
        kwargs: Keyword arguments of the class that define this task.
        control_dt: Time between two actions [s].
        action_block: Control steps in one step of a world model.
        actions_per_block: Distinct actions in a block. Each is held for
            ``action_block / actions_per_block`` control steps.
        max_steps: Longest episode budget that any draw may have [control steps].
        strata: Names of the distance strata, from near to far.
        success: The success rule, as a sentence.
        description: What the task asks, as one sentence; without it, pages show the success rule.
        behaviours: Name to ``module:Class`` of the scripted behaviours; ``expert`` solves the task.
        default_behaviour: The reward-free behaviour that collects the datasets of the suite.
        physics: Simulator and version that the recorded traces hold for.
        tags: Labels that select sets of tasks.

    Raises:
        ValueError: ``action_block`` is not a multiple of ``actions_per_block``.
        UnknownNameError: ``default_behaviour`` is not in ``behaviours``.
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
    description: str = ""
    behaviours: Mapping[str, str] = field(default_factory=dict)
    default_behaviour: str = "random"
    physics: str
    tags: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.action_block % self.actions_per_block:
            raise ValueError(
                f"{self.id}: action_block {self.action_block} is not a multiple of "
                f"actions_per_block {self.actions_per_block}."
            )
        if self.default_behaviour not in self.behaviours:
            raise unknown_name("behaviour", self.default_behaviour, self.behaviours)

    @property
    def held_steps(self) -> int:
        """Consecutive control steps for which success must hold to count as held."""
        return HELD_BLOCKS * self.action_block

    @property
    def hold_steps(self) -> int:
        """Control steps for which each action of a block is held."""
        return self.action_block // self.actions_per_block


@dataclass(frozen=True, slots=True)
class EpisodeDraw:
    """Everything that the seed of an episode decides before the first step.

    Attributes:
        start: Full physics state at the start, in the form that ``_set_physics`` takes.
        goal: Full physics state at the goal. Its frame is the goal image.
        reference_steps: Control steps that a good solution takes. The budget is max(50, twice
            this number).
        world: Numeric layout entries (applied by ``_set_world``) and values of factors of
            variation, by name.
    """

    start: NDArray[np.float64]
    goal: NDArray[np.float64]
    reference_steps: int
    world: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """A complete snapshot of an episode.

    Restoring it and repeating the same actions gives the same bytes.

    Attributes:
        task_id: Task that the episode belongs to.
        draw: What the seed decided.
        physics: Full physics state.
        num_steps: Control steps since the start.
        rng: State of the episode's random stream.
        world: ``draw.world``, or the copy that an event has changed since.
    """

    task_id: str
    draw: EpisodeDraw
    physics: NDArray[np.float64]
    num_steps: int
    rng: Mapping[str, Any]
    world: Mapping[str, NDArray[Any]]


def short_name(task_id: str) -> str:
    """Return the name of a task without namespace or module, as used in file names and tables."""
    return task_id.split("/")[-1].split(":")[-1]


def load_entry_point(entry_point: str) -> Any:
    """Return the object that ``module:name`` refers to."""
    module, _, name = entry_point.partition(":")
    return getattr(importlib.import_module(module), name)
