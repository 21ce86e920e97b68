"""Detours around forbidden rectangles, as subgoals at the corners of the shortest path.

A guardrail only forbids. A search near the proposals of a policy rarely samples a detour, and a
search with a distance that ignores the zones stops in front of them. If the zones are known, the
shortest path around them can be computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepabench.agents.guardrails.hazards import ZoneHazard
from jepabench.agents.guardrails.training import load_guardrail
from jepabench.envs.core.free_space import FreeSpace
from jepabench.envs.splits import EpisodeSpec
from jepabench.world_models.settings import require_at_least


class Detours:
    """Chooses the last corner of the detour that the agent can reach in a straight line.

    Implements ``jepabench.agents.mpc.agent.Subgoals``.

    A straight line is admissible if its distance to every zone is at least ``clearance``, or that
    of its ends if they are closer. Detours keep twice the clearance. Walls are not considered, so
    this class is meant for zones in open rooms.

    Args:
        hazard: Hazard with the zones, which reads positions from latents.
        goals: Latents of goals [N, *latent] from which subgoals are chosen.
        places: Positions of these goals [N, 2].
        clearance: Distance to the zones, in the units of positions.
    """

    def __init__(
        self, hazard: ZoneHazard, goals: Tensor, places: Tensor, *, clearance: float
    ) -> None:
        require_at_least(0, clearance=clearance)
        self.hazard, self.goals, self.places, self.clearance = hazard, goals, places, clearance
        grow = 2 * clearance * np.array([-1.0, -1.0, 1.0, 1.0])
        bounds = np.concatenate([places.amin(0).double().numpy(), places.amax(0).double().numpy()])
        self._space = FreeSpace(
            bounds=bounds + grow, boxes=hazard.zones.double().numpy(), clearance=2 * clearance
        )
        self._num_episodes = 0

    def to(self, device: torch.device) -> Detours:
        """Move the hazard and the latents of goals to a device. Positions stay in numpy."""
        self.hazard.to(device)
        self.goals = self.goals.to(device)
        return self

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        self._num_episodes = len(specs)

    @torch.no_grad()
    def choose(self, episode: int, latent: Tensor, goal: Tensor) -> Tensor:
        """Return the subgoal [*latent], which is the goal if the line to it is admissible."""
        del episode
        ends = self.hazard.probe(torch.stack([latent.flatten(), goal.flatten()]))
        here, there = ends.double().cpu().numpy()
        target = self._target(here, there)
        if target is None:
            return goal
        nearest = (self.places - torch.from_numpy(target)).square().sum(1).argmin()
        return self.goals[nearest].view_as(goal)

    def _target(
        self, here: NDArray[np.float64], there: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Return the position [2] of the subgoal, or None for the goal itself."""
        free = self._space.nearest(here.copy())
        if self._depth(here, here) > 0:
            return free
        bends = self._space.path(free, self._space.nearest(there.copy()))[:-1]
        if not len(bends) or self._is_admissible(here, there):
            return None
        return next((bend for bend in bends[::-1] if self._is_admissible(here, bend)), bends[0])

    def _is_admissible(self, start: NDArray[np.float64], end: NDArray[np.float64]) -> bool:
        kept = min(self.clearance, -self._depth(start, start), -self._depth(end, end))
        return self._depth(start, end) <= -kept + 1e-6

    def _depth(self, start: NDArray[np.float64], end: NDArray[np.float64]) -> float:
        zones = self.hazard.zones
        line = (torch.from_numpy(place)[None].to(zones.device) for place in (start, end))
        return float(self.hazard.depth(*line)[0])

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zeros [B], since no predictions are made."""
        return np.zeros(self._num_episodes, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetoursConfig:
    """Settings of ``Detours`` around the zones of a guardrail.

    Attributes:
        clearance: See ``Detours``.
    """

    clearance: float

    def build(self, directory: Path, *, task_id: str, world_model: Path) -> Detours:
        """Return detours around the zones of the guardrail in ``directory``.

        Raises:
            ValueError: The guardrail has a learned hazard, is unfinished or is of another task.
        """
        del world_model
        known = load_guardrail(directory, task_id=task_id)
        if not isinstance(known.hazard, ZoneHazard):
            raise ValueError(
                "A detour needs a guardrail with hazard=zones, but the hazard in "
                f"{directory} is learned."
            )
        return Detours(known.hazard, known.goals, known.places, clearance=self.clearance)
