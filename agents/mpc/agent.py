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
from jepabench.agents.planners.base import Planner, require_at_least
from jepabench.agents.proposals import PolicyProposal
from jepabench.agents.receding_horizon import RecedingHorizon
from jepabench.envs.registry import get_task
from jepabench.envs.splits import EpisodeSpec
from jepabench.world_models.base import Context, WorldModel
from jepabench.world_models.networks.precision import convert_precision

Decoder = Callable[[Tensor], NDArray[np.uint8]]


class Subgoals(Protocol):
    """Says what to head for now, on the way to a goal that is too far to plan for at once."""

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        ...

    def choose(self, episode: int, latent: Tensor, goal: Tensor) -> Tensor:
        """Return the latent [*latent] that episode number ``episode`` heads for, being at
        ``latent`` [*latent].
        """
        ...

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Predictions made so far [B], of whatever length; they count as world-model steps."""
        ...


class MPCAgent:
    """Model predictive control in the latent space of a world model.

    At each block boundary an episode encodes what it sees; when its queue is empty it plans from
    its last K latents (K = ``model.history``) towards the latent of its goal. Before K are known,
    the first is repeated, with actions that hold still between them.

    Args:
        task_id: the task.
        model: a world model; it is put into evaluation mode and its parameters are frozen.
        planner: the search over normalised model-step actions.
        energy: the cost of an imagined trajectory.
        action_mean, action_std: what the model's actions were normalised with [n * A], environment
            units.
        execute_steps: blocks executed before the next plan.
        warm_start, shrinking: begin a search at what is left of the last plan; and have each plan
            end when the first one did. See ``RecedingHorizon``.
        problems_at_once: episodes that are encoded and planned for in one batch. With 1, an
            episode's result is the same to the last bit whichever run beside it; more is faster on
            a GPU and equal up to rounding.
        precision: that candidates are imagined in, "float32" or "bfloat16"; see
            ``jepabench.world_models.networks.precision``.
        proposal: further plans to start each search from, such as ``PolicyProposal``, or None.
        subgoals: what to plan towards instead of the goal, asked before each plan; None for the
            goal itself.
        decoder: latents [N, *latent] to frames uint8 [N, size, size, 3], to look at what was
            imagined.
        record_imagination: the first so many episodes of each stratum keep their imagined plans for
            ``imagined``.

    The state twin (a model of ``observation``) relies on tasks putting the achieved goal first in
    their observation: see ``encode_goal_rows``.
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
        problems_at_once: int = 1,
        precision: str = "float32",
        proposal: PolicyProposal | None = None,
        subgoals: Subgoals | None = None,
        decoder: Decoder | None = None,
        record_imagination: int = 0,
    ) -> None:
        require_at_least(1, problems_at_once=problems_at_once)
        require_at_least(0, record_imagination=record_imagination)
        if record_imagination and decoder is None:
            raise ValueError(
                "record_imagination needs a decoder, got none. Train one, or leave it 0."
            )
        if isinstance(model, nn.Module):
            model.eval().requires_grad_(False)
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
        )
        if model.action_size != len(self._control.bounds.low):
            raise ValueError(
                f"{task_id} has model-step actions of size {len(self._control.bounds.low)}, "
                f"the world model takes {model.action_size}. Was it trained on another task?"
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
        """Return control actions [B, A], planning where an episode has none left."""
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
    def model_steps(self) -> NDArray[np.int64]:
        """World-model steps so far [B]."""
        return self._control.model_steps + (
            0 if self.subgoals is None else self.subgoals.model_steps
        )

    @torch.no_grad()
    def imagined(self, episode: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]] | None:
        """Return what an episode imagined: control steps [P] of its plans, frames uint8 [P, H,
        size, size, 3]; or None.
        """
        if not self._imagined[episode] or self.decoder is None:
            return None
        steps, futures = zip(*self._imagined[episode], strict=True)
        longest = max(len(future) for future in futures)  # shorter ones stay where they end
        latents = torch.stack(
            [torch.cat([f, f[-1:].expand(longest - len(f), *f.shape[1:])]) for f in futures]
        )
        frames = self.decoder(latents.flatten(0, 1))
        return np.array(steps), frames.reshape(*latents.shape[:2], *frames.shape[1:])

    def _batches(self, episodes: list[int]) -> list[list[int]]:
        size = self.problems_at_once
        return [episodes[first : first + size] for first in range(0, len(episodes), size)]

    def _observe(self, episodes: list[int], observations: Mapping[str, NDArray[Any]]) -> None:
        """Add what ``episodes`` see now, and the block that led there, to their history."""
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
            )
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
