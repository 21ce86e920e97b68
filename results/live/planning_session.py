"""One world with one planning agent, controlled and watched from a page while it runs."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from jepabench.agents.costs.energy import Energy, GoalDistance
from jepabench.agents.mpc.agent import MPCAgent
from jepabench.agents.planners.base import Planner
from jepabench.agents.planners.best_proposal import BestProposalPlanner
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.mppi import MPPIPlanner
from jepabench.agents.proposals import load_proposal
from jepabench.envs.errors import unknown_name
from jepabench.envs.registry import make
from jepabench.envs.splits import EpisodeSpec, reset_to
from jepabench.results.live.goal_placement import GoalPlacement
from jepabench.results.live.traced_planner import Thought, TracedPlanner
from jepabench.world_models.checkpoint import load_world_model

REACTIVE = "reactive"
BUDGETS = (0.25, 0.5, 1.0, 2.0, 4.0)
COSTS = {
    "L2, whole path": GoalDistance(kind="l2", when="running"),
    "L2, end of the plan": GoalDistance(kind="l2", when="terminal"),
    "L1, whole path": GoalDistance(kind="l1", when="running"),
    "cosine, whole path": GoalDistance(kind="cosine", when="running"),
}
_SEARCHES: dict[str, ICEMPlanner | CEMPlanner | MPPIPlanner | GradientPlanner] = {
    "iCEM": ICEMPlanner(),
    "CEM": CEMPlanner(num_samples=128, num_elites=16, num_iterations=6),
    "MPPI": MPPIPlanner(),
    "gradient": GradientPlanner(num_starts=8, num_iterations=8),
}
_PROPOSALS = "*/proposal"  # of a checkpoint: a policy on its latents
_MOST_ROUNDS = 10  # of a search, as shown
_VIEW = 320  # side of the frame [px]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the reader can change while the agent runs.

    Attributes:
        planner: One of ``PlanningSession.planners``.
        budget: Factor of the number of candidates; one of ``BUDGETS``.
        cost: One of ``COSTS``.
    """

    planner: str = "iCEM"
    budget: float = 1.0
    cost: str = "L2, whole path"


class PlanningSession:
    """An endless episode of one world with an MPC agent.

    Args:
        checkpoint: Folder of a world model that observes pixels.
        stratum: Stratum of the first goal; the nearest one if empty.

    Raises:
        CheckpointError: The folder has no world model.
        GoalPlacementError: The goal of its world cannot be moved.
        ValueError: The model does not observe pixels.
    """

    def __init__(self, checkpoint: Path, *, stratum: str = "") -> None:
        self.loaded = load_world_model(checkpoint)
        model, task_id = self.loaded.model, self.loaded.task_id
        if model.observation_key != "pixels":
            raise ValueError(f"{checkpoint} observes {model.observation_key}, not pixels.")
        self.env = make(task_id, pixels=64, render_mode="rgb_array", render_size=_VIEW)
        self.task = self.env.task
        self.placement = GoalPlacement(self.env)
        self._stratum = stratum or self.task.strata[0]
        self._proposal = self._load_proposal(checkpoint)
        self.settings, self._index = Settings(), 0
        self._start()
        with torch.no_grad():
            self.probe = self.placement.fit_probe(model, np.random.default_rng(0))

    @property
    def planners(self) -> list[str]:
        """Names of the planners; ``reactive`` needs a policy beside the world model."""
        return [*_SEARCHES, *([REACTIVE] if self._proposal else [])]

    def change(self, settings: Mapping[str, Any]) -> None:
        """Change some settings; the agent continues from the present state.

        Raises:
            UnknownNameError: An unknown setting, planner, budget or cost. Nothing changes.
        """
        allowed = {"planner": self.planners, "budget": BUDGETS, "cost": list(COSTS)}
        for name, value in settings.items():
            if name not in allowed:
                raise unknown_name("setting", name, allowed)
            if value not in allowed[name]:
                raise unknown_name(name, value, map(str, allowed[name]))
        self.settings = replace(self.settings, **settings)
        self._build_agent()

    def move_goal(self, place: Sequence[float]) -> None:
        """Move the goal to a position on the frame, (x, y) in [0, 1] from the upper left corner.

        Raises:
            GoalPlacementError: The place is not free. Nothing changes.
        """
        self.observation = self.placement.move_goal(np.asarray(place, np.float64))
        self._held = 0
        self._build_agent()

    def restart(self) -> None:
        """Start the next episode of the stratum."""
        self._index += 1
        self._start()

    def step(self) -> dict[str, Any]:
        """Take one control step and return what the page shows of it."""
        began = time.perf_counter()
        batch = {key: value[None] for key, value in self.observation.items()}
        self._planner.thought = None
        start = _rounded(self.placement.position())
        action = self.agent.act(batch, np.ones(1, np.bool_))[0]
        thought = self._planner.thought
        milliseconds = 1000 * (time.perf_counter() - began)
        self.observation, _, _, _, info = self.env.step(action)
        self._num_steps += 1
        self._held = self._held + 1 if info["is_success"] else 0
        message = {
            **self.describe(),
            "start": start,
            "distance": round(float(info["distance"]), 4),
            "success": bool(info["is_success"]),
            "held": self._held >= self.task.held_steps,
            "ms": round(milliseconds, 1),
        }
        return message | {"thought": self._describe_thought(thought) if thought else None}

    def describe(self) -> dict[str, Any]:
        """Return the present state of the world."""
        return {
            "type": "step",
            "step": self._num_steps,
            "frame": _as_url(self.env.render()),
            "position": _rounded(self.placement.position()),
            "goal": _rounded(self._goal),
            "model_steps": int(self.agent.model_steps[0]),
        }

    def _start(self) -> None:
        self._spec = EpisodeSpec(self.task.id, "validation", self._stratum, self._index)
        self.observation, _ = reset_to(self.env, self._spec)
        self._num_steps = self._held = 0
        self._build_agent()

    def _build_agent(self) -> None:
        """Make a new agent, which forgets its last plan and starts at a block boundary."""
        self._planner = TracedPlanner(self._make_planner())
        scale = self.loaded.scale
        self.agent = MPCAgent(
            task_id=self.task.id,
            model=self.loaded.model,
            planner=self._planner,
            energy=Energy(terms=[COSTS[self.settings.cost]]),
            action_mean=scale.mean.numpy(),
            action_std=scale.std.numpy(),
            proposal=self._proposal if self.settings.planner == REACTIVE else None,
            warm_start=self.settings.planner != REACTIVE,
        )
        self.agent.reset([self._spec])
        self._goal = self.placement.goal()

    def _make_planner(self) -> Planner:
        name, budget = self.settings.planner, self.settings.budget
        if name == REACTIVE:
            return BestProposalPlanner()
        planner = _SEARCHES[name]
        if isinstance(planner, GradientPlanner):
            return replace(planner, num_starts=max(1, round(planner.num_starts * budget)))
        size = round(planner.num_samples * budget)
        elites = 1 if isinstance(planner, MPPIPlanner) else planner.num_elites
        return replace(planner, num_samples=max(elites, size))

    def _load_proposal(self, checkpoint: Path) -> Any:
        found = sorted(path for path in checkpoint.glob(_PROPOSALS) if path.is_dir())
        if not found:
            return None
        return load_proposal(
            found[0],
            task_id=self.task.id,
            world_model=checkpoint,
            scale=self.loaded.scale,
        )

    def _describe_thought(self, thought: Thought) -> dict[str, Any]:
        chosen = np.unique(
            np.linspace(0, len(thought.rounds) - 1, _MOST_ROUNDS).round().astype(int)
        )
        lowest = np.minimum.accumulate([one.best for one in thought.rounds])
        return {
            "rounds": [
                {
                    "paths": _rounded(self._positions(thought.rounds[place].latents)),
                    "costs": _rounded(thought.rounds[place].costs, 6),
                    "candidates": thought.rounds[place].num_candidates,
                }
                for place in chosen
            ],
            "best": _rounded(lowest, 6),
            "path": _rounded(self._positions(thought.future[None])[0]),
            "imagined": self._paint_future(thought.future),
            "block": self.task.action_block,
        }

    @torch.no_grad()
    def _positions(self, latents: Tensor) -> NDArray[np.float64]:
        """Return positions on the frame [K, H, 2] of latents [K, H, *latent]."""
        read = self.probe(latents.flatten(0, 1).flatten(1).float())
        return read.view(*latents.shape[:2], -1).double().numpy()

    @torch.no_grad()
    def _paint_future(self, future: Tensor) -> list[str]:
        decoder = self.loaded.decoder
        return [] if decoder is None else [_as_url(frame) for frame in decoder.paint(future)]


def _rounded(values: Any, digits: int = 4) -> list[Any]:
    return np.round(np.nan_to_num(np.asarray(values, np.float64), posinf=1e9), digits).tolist()


def _as_url(frame: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
