"""Move the goal of an episode, read positions from latents, and draw both on a frame.

This works in worlds that are seen from above with one object whose position is the goal: mazes and
Push-T. The goal is moved through ``GoalEnv.moving_objects`` and exact snapshots, so that goal
picture, goal vector and success rule stay consistent.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from jepabench.envs.core.goal_env import GoalEnv, Observation
from jepabench.envs.variations.moving_objects import MovingObject
from jepabench.world_models.analysis.probes import Probe, fit_linear
from jepabench.world_models.base import WorldModel

# Object whose position is the goal, and whether its y axis points up in frames, by family. Where it
# points up, the origin is in the middle of the frame; elsewhere it is the upper left corner.
_OBJECTS = {"maze": ("ball", True), "pusht": ("block", False)}
FAMILIES = tuple(_OBJECTS)
_NUM_POSITIONS = 300  # for the probe
_BATCH = 64


class GoalPlacementError(ValueError):
    """A world whose goal cannot be moved, or a place that is not free."""


class GoalPlacement:
    """Places the goal of an environment at positions of its frame.

    Positions on the frame are (x, y) in [0, 1], from the upper left corner.

    Args:
        env: An environment with frames.

    Raises:
        GoalPlacementError: The world does not have one object, seen from above, as its goal.
    """

    def __init__(self, env: GoalEnv) -> None:
        self.env = env
        name, self._is_centred = _OBJECTS.get(env.task.family, ("", True))
        found = {item.name: item for item in env.moving_objects}
        if name not in found:
            raise GoalPlacementError(
                f"The demonstration shows worlds of the families {', '.join(FAMILIES)}, "
                f"not {env.task.id}. Choose a checkpoint of one of those."
            )
        self._name = name

    @property
    def object(self) -> MovingObject:
        """The object whose position is the goal."""
        return next(item for item in self.env.moving_objects if item.name == self._name)

    def to_frame(self, positions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return positions on the frame [..., 2], given positions in the world."""
        share = np.asarray(positions, np.float64) / self.object.extent
        return share * [1.0, -1.0] + 0.5 if self._is_centred else share

    def to_world(self, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return positions in the world [..., 2], given positions on the frame."""
        share = np.asarray(places, np.float64)
        return (
            (share - 0.5) * [1.0, -1.0] * self.object.extent
            if self._is_centred
            else (share * self.object.extent)
        )

    def position(self) -> NDArray[np.float64]:
        """Return the present position of the object on the frame [2]."""
        return self.to_frame(self.object.get_motion()[:2])

    def goal(self) -> NDArray[np.float64]:
        """Return the position of the goal on the frame [2]."""
        state = self.env.snapshot()
        self.env.restore(replace(state, physics=state.draw.goal))
        place = self.position()
        self.env.restore(state)
        return place

    def move_goal(self, place: NDArray[np.floating]) -> Observation:
        """Move the goal to a position on the frame and return the new observation.

        Raises:
            GoalPlacementError: The place is in a wall or outside the world. Nothing changes.
        """
        item, wanted = self.object, self.to_world(place)
        if not np.isfinite(wanted).all() or not ((0 <= place) & (place <= 1)).all():
            raise GoalPlacementError("The goal must be inside the frame.")
        if item.is_free is not None and not bool(item.is_free(wanted[None])[0]):
            raise GoalPlacementError("The goal cannot be inside a wall.")
        state = self.env.snapshot()
        self.env.restore(replace(state, physics=state.draw.goal))
        motion = item.get_motion().copy()
        motion[:2] = wanted
        item.set_motion(motion)
        goal = self.env.snapshot().physics
        return self.env.restore(replace(state, draw=replace(state.draw, goal=goal)))

    def fit_probe(self, model: WorldModel, rng: np.random.Generator) -> Probe:
        """Fit a linear probe from latents [N, D] to positions on the frame [N, 2].

        The object is placed at random positions; afterwards the world is as before.
        """
        state, item = self.env.snapshot(), self.object
        frames, places = [], []
        while len(frames) < _NUM_POSITIONS:
            for position in item.sample(rng)[: _NUM_POSITIONS - len(frames)]:
                motion = item.get_motion().copy()
                motion[:2] = position
                item.set_motion(motion)
                frames.append(self.env.restore(self.env.snapshot())["pixels"])
                places.append(self.position())
        self.env.restore(state)
        with torch.no_grad():
            parts = [
                model.encode(torch.from_numpy(np.stack(frames[first : first + _BATCH])))
                for first in range(0, len(frames), _BATCH)
            ]
        latents = torch.cat(parts).flatten(1).float()
        return fit_linear(latents, torch.from_numpy(np.stack(places)).float())
