"""An episode as data: what its seed decided, and how it is at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Keys of a world that an event has disturbed for a time: until which control step, and for FROZEN which moving object.
REVERSED, FROZEN = "reversed", "frozen"


@dataclass(frozen=True, slots=True)
class EpisodeDraw:
    """What a seed decides before the first step.

    Attributes:
        start: full physics state at the start (whatever ``_set_physics`` takes).
        goal: full physics state at the goal; its picture is the goal image.
        reference_steps: control steps that a good solution takes; the budget is max(50, twice this).
        world: layout (which ``_set_world`` applies) and values of factors of variation, by name, numeric.
    """

    start: NDArray[np.float64]
    goal: NDArray[np.float64]
    reference_steps: int
    world: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """An episode at one moment, complete: restoring it and taking the same actions gives the same bytes.

    Attributes:
        task_id: of the task whose episode it is.
        draw: what the seed decided.
        physics: full physics state.
        num_steps: control steps since the start.
        rng: state of the episode's random stream.
        world: ``draw.world``, or what an event (``jepabench.envs.events``) has made of it since.
    """

    task_id: str
    draw: EpisodeDraw
    physics: NDArray[np.float64]
    num_steps: int
    rng: Mapping[str, Any]
    world: Mapping[str, NDArray[Any]]
