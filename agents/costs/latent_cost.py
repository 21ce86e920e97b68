"""The cost of plans in the latent space of a world model: the energy of imagined latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jepabench.agents.costs.energy import Energy
from jepabench.world_models.base import Context, WorldModel, rollout


@dataclass(frozen=True, slots=True)
class LatentCost:
    """The cost function of B problems with encoded observations.

    Attributes:
        model: World model that imagines the plans.
        context: Latents and actions of each problem so far.
        goal: Latents of the goals [B, *latent].
        energy: Cost of imagined latents.
    """

    model: WorldModel
    context: Context
    goal: Tensor
    energy: Energy

    def __call__(self, actions: Tensor) -> Tensor:
        """Return costs [B, S] of candidates [B, S, H, A]."""
        return self.energy(self.imagine(actions), self.goal, actions)

    def imagine(self, actions: Tensor) -> Tensor:
        """Return the imagined latents [B, S, H, *latent] of candidates [B, S, H, A]."""
        return rollout(self.model, self.context, actions)

    @property
    def start(self) -> Tensor:
        """Present latent of each problem [B, *latent]."""
        return self.context.latents[:, -1]

    def transitions(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict each step of a trajectory from its given states, all steps in parallel.

        Args:
            states: Assumed latents after each action [B, S, H, *latent].
            actions: Candidates [B, S, H, A].

        Returns:
            Predicted latents [B, S, H, *latent]. Entry h follows from the context,
            ``states[:, :, :h]`` and action h.
        """
        problems, samples, horizon = actions.shape[:3]
        known = self.context.latents[:, None].expand(-1, samples, *self.context.latents.shape[1:])
        past = self.context.actions[:, None].expand(-1, samples, -1, -1)
        latents = torch.cat([known, states[:, :, :-1]], dim=2)
        moves = torch.cat([past, actions], dim=2)
        length = min(self.model.history, known.shape[2])
        first = known.shape[2] - length
        index = torch.arange(first, first + horizon)[:, None] + torch.arange(length)  # [H, K]
        rows = problems * samples * horizon
        predicted = self.model.predict(
            latents[:, :, index].reshape(rows, length, *latents.shape[3:]),
            moves[:, :, index].reshape(rows, length, -1),
        )
        return predicted.reshape(problems, samples, horizon, *predicted.shape[1:])
