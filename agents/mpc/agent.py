"""Model predictive control with a learned world model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jepabench.agents.costs.energy import Energy
from jepabench.agents.costs.latent_cost import LatentCost
from jepabench.agents.encoding import encode_goal_rows, encode_rows, observation_keys
from jepabench.agents.planners.base import Planner
from jepabench.agents.proposals import PolicyProposal
from jepabench.agents.receding_horizon import RecedingHorizon
from jepabench.envs.registry import get_task
from jepabench.envs.splits import EpisodeSpec
from jepabench.envs.task import TaskSpec
from jepabench.world_models.base import Context, WorldModel
from jepabench.world_models.networks.precision import convert_precision
from jepabench.world_models.settings import require_at_least
from jepabench.world_models.training.devices import find_device

_PROBLEMS_ON_GPU = 64  # episodes planned in one batch by default
Decoder = Callable[[Tensor], NDArray[np.uint8]]


class Subgoals(Protocol):
    """Chooses intermediate goals for goals that are too far away for one plan."""

    def to(self, device: torch.device) -> Subgoals:
        """Move the networks and latents to a device."""
        ...

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        ...

    def choose(self, episode: int, latent: Tensor, goal: Tensor) -> Tensor:
        """Return the subgoal [*latent] of an episode, given the present ``latent`` [*latent]."""
        ...

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Predictions so far [B], which count as world-model steps."""
        ...


class MPCAgent:
    """Model predictive control in the latent space of a world model.

    At each block boundary the agent encodes the observation. When the queue of an episode is empty,
    the agent plans from the last K latents (K = ``model.history``) to the latent of the goal. While
    fewer than K latents are known, the first one is repeated, with resting actions between them.

    Args:
        task_id: Id of the task.
        model: World model. It is set to evaluation mode, and its parameters are frozen.
        planner: Planner that searches for normalised actions.
        energy: Cost of imagined trajectories.
        action_mean: Mean of the actions in the model's training data [n * A], in environment units.
        action_std: Standard deviation of these actions [n * A], in environment units.
        execute_steps: Number of blocks executed before the next plan.
        warm_start, shrinking: See ``RecedingHorizon``.
        problems_at_once: Number of episodes encoded and planned in one batch. With 1, the result of
            an episode is bitwise independent of the other episodes. Larger values are faster on a
            GPU and equal up to rounding. By default 1 on the CPU and 64 on a GPU.
        device: Device on which the agent encodes and plans, "cpu", "cuda" or "mps".
        precision: Precision of imagined rollouts, "float32" or "bfloat16"; see
            ``jepabench.world_models.networks.precision``.
        proposal: Source of additional initial plans, or None.
        subgoals: Source of the target of each plan, or None to plan to the goal itself.
        decoder: Function from latents [N, *latent] to frames uint8 [N, size, size, 3], for
            ``imagined``.
        record_imagination: Number of episodes per stratum whose imagined plans are kept for
            ``imagined``.

    A state twin (a model of ``observation``) requires that observations start with the achieved
    goal; see ``encode_goal_rows``.
    """

    def __init__(
        self,
        *,
        task_id: str,
        model: WorldModel,
        planner: Planner,
        energy: Energy,
        action_mean: NDArray[np.floating],
        action_std: NDArray[np.floating],
        execute_steps: int = 1,
        warm_start: bool = True,
        shrinking: bool = False,
        problems_at_once: int | None = None,
        device: str = "cpu",
        precision: str = "float32",
        proposal: PolicyProposal | None = None,
        subgoals: Subgoals | None = None,
        decoder: Decoder | None = None,
        record_imagination: int = 0,
    ) -> None:
        self.device = find_device(device)
        if problems_at_once is None:
            problems_at_once = 1 if device == "cpu" else _PROBLEMS_ON_GPU
        require_at_least(1, problems_at_once=problems_at_once)
        require_at_least(0, record_imagination=record_imagination)
        if record_imagination and decoder is None:
            raise ValueError(
                "record_imagination needs a decoder, got none. Train one, or leave it at 0."
            )
        if isinstance(model, nn.Module):
            model.eval().requires_grad_(False)
        if device != "cpu":
            _move(self.device, model, energy, proposal, subgoals)
        self.observation_keys = observation_keys(model)
        self._imagines = convert_precision(model, precision)
        self.model, self.energy, self.decoder, self.proposal = model, energy, decoder, proposal
        self.subgoals = subgoals
        self.problems_at_once, self.record_imagination = problems_at_once, record_imagination
        self._control = RecedingHorizon(
            task=get_task(task_id),
            planner=planner,
            action_mean=action_mean,
            action_std=action_std,
            execute_steps=execute_steps,
            warm_start=warm_start,
            shrinking=shrinking,
            device=self.device,
        )
        if model.action_size != len(self._control.bounds.low):
            raise ValueError(
                f"The action of a model step of {task_id} has size "
                f"{len(self._control.bounds.low)}, the world model takes {model.action_size}. "
                "Was it trained on another task?"
            )

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        self._control.reset(specs)
        if self.subgoals is not None:
            self.subgoals.reset(specs)
        self._goals: list[Tensor | None] = [None] * len(specs)
        self._latents: list[list[Tensor]] = [[] for _ in specs]
        self._actions: list[list[Tensor]] = [[] for _ in specs]
        self._imagined: list[list[tuple[int, Tensor]]] = [[] for _ in specs]
        self._recorded = [spec.index < self.record_imagination for spec in specs]

    def act(
        self, observations: Mapping[str, NDArray[Any]], active: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return control actions [B, A]; episodes without queued actions plan first."""
        queue = self._control.queue
        for episodes in self._batches(queue.at_boundary(active)):
            self._observe(episodes, observations)
        for _, alike in groupby(
            sorted(queue.empty(active), key=self._control.horizon), key=self._control.horizon
        ):
            for episodes in self._batches(list(alike)):
                self._plan(episodes)
        return queue.take(active)

    @property
    def task(self) -> TaskSpec:
        """Task of the agent."""
        return self._control.task

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """World-model steps so far [B]."""
        return self._control.model_steps + (
            0 if self.subgoals is None else self.subgoals.model_steps
        )

    @torch.no_grad()
    def imagined(self, episode: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]] | None:
        """Return the imagined plans of an episode, or None if they were not recorded.

        Returns:
            The control steps of the P plans [P], and frames uint8 [P, H, size, size, 3].
        """
        if not self._imagined[episode] or self.decoder is None:
            return None
        steps, futures = zip(*self._imagined[episode], strict=True)
        longest = max(len(future) for future in futures)  # repeat the last latent of shorter ones
        latents = torch.stack(
            [torch.cat([f, f[-1:].expand(longest - len(f), *f.shape[1:])]) for f in futures]
        )
        frames = self.decoder(latents.flatten(0, 1).cpu())
        return np.array(steps), frames.reshape(*latents.shape[:2], *frames.shape[1:])

    def _batches(self, episodes: list[int]) -> list[list[int]]:
        size = self.problems_at_once
        return [episodes[first : first + size] for first in range(0, len(episodes), size)]

    def _observe(self, episodes: list[int], observations: Mapping[str, NDArray[Any]]) -> None:
        """Append the present latents and the last executed blocks to the histories."""
        new = [episode for episode in episodes if self._goals[episode] is None]
        if new:
            for episode, goal in zip(
                new, encode_goal_rows(self.model, observations, new), strict=True
            ):
                self._goals[episode] = goal
        for episode, latent in zip(
            episodes, encode_rows(self.model, observations, episodes), strict=True
        ):
            last = torch.from_numpy(
                self._control.normalise(self._control.queue.last_block(episode))
            ).to(self.device)
            padding = 1 if self._latents[episode] else self.model.history
            latents = self._latents[episode] + [latent] * padding
            actions = self._actions[episode] + [last] * (
                padding if self._latents[episode] else padding - 1
            )
            self._latents[episode] = latents[-self.model.history :]
            self._actions[episode] = actions[len(actions) - self.model.history + 1 :]

    def _plan(self, episodes: list[int]) -> None:
        context = self._context(episodes)
        goal = torch.stack(
            [latent for episode in episodes if (latent := self._goals[episode]) is not None]
        )
        if self.subgoals is not None:
            places = zip(episodes, context.latents[:, -1], goal, strict=True)
            goal = torch.stack(
                [self.subgoals.choose(episode, here, there) for episode, here, there in places]
            )
        cost = LatentCost(self._imagines, context, goal, self.energy.bind(self.model, context))
        proposals = None
        if self.proposal is not None:
            proposals = self.proposal(
                self.model, context, goal, horizon=self._control.horizon(episodes[0])
            )
        plan = self._control.plan(episodes, cost, proposals=proposals)
        if any(self._recorded[episode] for episode in episodes):
            with torch.no_grad():
                futures = cost.imagine(plan.actions[:, None])[:, 0]
            for episode, future in zip(episodes, futures, strict=True):
                if self._recorded[episode]:
                    self._imagined[episode].append(
                        (int(self._control.queue.steps[episode]), future)
                    )

    def _context(self, episodes: list[int]) -> Context:
        latents = torch.stack([torch.stack(self._latents[episode]) for episode in episodes])
        empty = latents.new_zeros(0, self.model.action_size)
        actions = [
            torch.stack(self._actions[episode]) if self._actions[episode] else empty
            for episode in episodes
        ]
        return Context(latents, torch.stack(actions))


def _move(device: torch.device, *parts: Any) -> None:
    """Move the model and the other parts of an agent to a GPU.

    Raises:
        ValueError: A part cannot be moved.
    """
    for part in parts:
        if part is None:
            continue
        if not hasattr(part, "to"):
            raise ValueError(
                f"{type(part).__name__} cannot be moved to {device}: it has no method to(device). "
                "Use device=cpu."
            )
        part.to(device)
